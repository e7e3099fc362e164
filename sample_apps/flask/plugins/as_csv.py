"""Export as CSV."""

import csv
import io


def render(record):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows(record.items())
    return out.getvalue(), "text/csv"
