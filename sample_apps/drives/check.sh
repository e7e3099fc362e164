# What a test suite would do: it is told where the service is.
set -eu
python3 - "http://$MINIFY_HOST:$MINIFY_PORT_8080" <<'CODE'
import sys, urllib.request
assert b"square" in urllib.request.urlopen(sys.argv[1] + "/report").read()
CODE
