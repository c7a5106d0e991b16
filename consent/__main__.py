"""`python -m consent` is the command line."""

from consent.cli import main

main()
