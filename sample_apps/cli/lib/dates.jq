import "text" as text;
def year: strptime("%Y-%m-%d") | mktime | strftime("%Y");
def named: text::slug + "-" + "2024";
