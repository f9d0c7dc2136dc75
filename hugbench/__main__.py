"""`python -m hugbench`."""

from hugbench.cli import main

main()
