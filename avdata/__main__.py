"""`python -m avdata`, as `torchrun -m avdata fit ...` starts it."""

from avdata.cli import main

main(prog_name="avdata")
