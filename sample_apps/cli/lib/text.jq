def shout: ascii_upcase + "!";
def slug: ascii_downcase | gsub("[^a-z0-9]+"; "-");
