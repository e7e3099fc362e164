"""A small tool: upper case of its input, or a table of a CSV file."""

import sys

if sys.argv[1:] == ["--version"]:
    print("upper 1")
elif sys.argv[1:] == ["table"]:
    import csv

    for row in csv.reader(sys.stdin):
        print(" | ".join(row))
elif sys.argv[1:]:
    sys.exit("unknown: " + sys.argv[1])
else:
    print(sys.stdin.read().upper(), end="")
