"""The layer store of the embedded engine: each layer unpacked once, safely."""
