"""Run the command line as `python -m minify`."""

from minify.cli import main

if __name__ == "__main__":
    main()
