"""`python -m avtrain`, as `torchrun -m avtrain fit ...` starts it."""

from avtrain.cli import main

main(prog_name="avtrain")
