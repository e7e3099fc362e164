"""ELF files, and where a dynamic loader would find the libraries they name."""
