"""minify observes a running image, keeps what it used plus what that needs, and proves the result."""

__version__ = "0.1.0"
