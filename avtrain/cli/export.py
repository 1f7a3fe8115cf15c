"""`avtrain export`: a run -> a folder with its networks."""

import json
from pathlib import Path

import click


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option(
    "--banks",
    is_flag=True,
    help="The memory banks too, to start another method from on the same shard set.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def export(run: Path, out: Path, banks: bool, as_json: bool) -> None:
    """Write the networks of RUN as of its last checkpoint, as safetensors.

    `avtrain.load_encoder(OUT)` makes a module of them; `avtrain fit --init OUT` starts from them.
    """
    from avtrain.encoders import export_run
    from avtrain.exported import write_exported
    from avtrain.exported.folder import check_vacant

    check_vacant(out)
    exported = export_run(run, banks=banks)
    write_exported(exported, out)
    config = exported.config
    num_bytes = sum(path.stat().st_size for path in out.iterdir())
    click.echo(
        f"{config.method} after step {config.origin['step']}: {len(exported.tensors)} tensors, "
        f"{num_bytes / 1e6:.1f} MB in {out}",
        err=as_json,
    )
    if as_json:
        print(
            json.dumps(
                {
                    "out": str(out),
                    "method": config.method,
                    "step": int(config.origin["step"]),
                    "tensors": len(exported.tensors),
                    "bytes": num_bytes,
                }
            )
        )
