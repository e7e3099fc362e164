"""Measuring minify on the sample applications, and playing requests that no probe made."""
