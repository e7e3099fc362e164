"""Stand-alone programs that stand beside a live container; see README.md for their contract."""
