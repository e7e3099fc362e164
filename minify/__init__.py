"""minify observes an image as it runs, keeps what it used and needs, and proves the result."""

__version__ = "0.1.0"
