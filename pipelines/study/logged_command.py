"""Commands of this project, as a study calls them."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click


def run_logged(
    program: str | Path, words: tuple[object, ...], *, log: Path, num_threads: int | None = None
) -> str:
    """Standard output of a command of this project; what it says goes into the log.

    Args:
        program: A module, or a script.
        words: Its arguments.
        log: File that is added to.
        num_threads: Of the process.

    Raises:
        ClickException: It failed; the text names the log.
    """
    start = [str(program)] if isinstance(program, Path) else ["-m", program]
    environment = dict(os.environ)
    if num_threads is not None:
        environment["OMP_NUM_THREADS"] = str(num_threads)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(shlex.join([str(program), *map(str, words)]) + "\n")
        file.flush()
        done = subprocess.run(
            [sys.executable, *start, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=environment,
            check=False,
        )
        file.write(done.stdout)
    if done.returncode:
        raise click.ClickException(f"{program} ended with {done.returncode}; {log} says why")
    return done.stdout
