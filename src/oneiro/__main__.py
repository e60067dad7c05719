"""`python -m oneiro` is the command `oneiro`."""

from oneiro.cli import main

main()
