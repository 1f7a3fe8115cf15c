"""`python -m avdata`, the same as the command `avdata`."""

from avdata.cli import main

main(prog_name="avdata")
