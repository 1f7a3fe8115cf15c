"""`avtrain import`: a published checkpoint -> a folder with its networks."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata import PathOrUrl

if TYPE_CHECKING:
    from avtrain.exported.published import Imported
    from avtrain.models.published import PublishedNetworks


@click.command("import")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="New folder.")
@click.option(
    "--audio-statistics",
    type=click.Path(path_type=Path),
    metavar="NPZ",
    help="Mean and deviation of each frequency bin, as published beside the weights.",
)
@click.option(
    "--bank-list",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the memory banks: the authors' file names in the order of the rows, one a line.",
)
@click.option(
    "--manifest",
    type=PathOrUrl(),
    metavar="SHARDS",
    help="With --bank-list: the shard set whose sources the rows become.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="What shapes do not tell, as in --set model.video.stem_pool=true or "
    "--set model=avid-r2plus1d-10.",
)
@click.option("--report-only", is_flag=True, help="Print what became of every tensor, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def import_weights(
    checkpoint: Path,
    out: Path | None,
    audio_statistics: Path | None,
    bank_list: Path | None,
    manifest: Path | str | None,
    assignments: tuple[str, ...],
    report_only: bool,
    as_json: bool,
) -> None:
    """Read the networks of CHECKPOINT: of AVID or CMA as their authors published them, of a
    classifier fine-tuned from those, or torchvision's r2plus1d_18.

    Nothing in the file is run: one that would call functions is refused.
    """
    from avdata import ShardSet
    from avtrain.engine.run_folder import software_versions
    from avtrain.exported import write_exported
    from avtrain.exported.folder import check_vacant
    from avtrain.exported.published import (
        BankSource,
        import_published,
        report_published,
    )

    if (bank_list is None) != (manifest is None):
        raise click.UsageError("--bank-list and --manifest are given together or not at all")
    if (out is None) != report_only:
        raise click.UsageError("give either --out FOLDER or --report-only")
    if out is None:
        _show(report_published(checkpoint, assignments=assignments), as_json=as_json)
        return
    check_vacant(out)
    banks = None
    if bank_list is not None and manifest is not None:
        banks = BankSource(names=bank_list, shards=ShardSet(manifest))
    imported = import_published(
        checkpoint,
        assignments=assignments,
        audio_statistics=audio_statistics,
        banks=banks,
        software=software_versions(),
    )
    write_exported(imported.exported, out)
    _report(imported, out, as_json=as_json)


def _report(imported: "Imported", out: Path, *, as_json: bool) -> None:
    networks, config = imported.networks, imported.exported.config
    counts = _counts(networks)
    click.echo(
        f"{config.method}, layout {networks.layout}: {counts['ok']} tensors, "
        f"{counts['missing']} missing, {counts['unexpected']} unexpected; written to {out}",
        err=as_json,
    )
    for note in imported.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        facts = {
            "out": str(out),
            "method": config.method,
            "model": config.model.model_dump(mode="json"),
            "notes": imported.notes,
            "bank": config.bank.model_dump() if config.bank else None,
        }
        print(json.dumps(_facts(networks) | facts))


def _show(networks: "PublishedNetworks", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_facts(networks)))
        return
    width = max(len(line.name) for line in networks.lines)
    for line in networks.lines:
        shape = "-" if line.shape is None else "x".join(map(str, line.shape)) or "scalar"
        wanted = f", must be {line.expected}" if line.status == "shape" else ""
        print(f"{line.name:{width}}  {shape:>16}  {line.status}{wanted}")
    counts = _counts(networks)
    print(
        f"layout {networks.layout}: " + ", ".join(f"{n} {status}" for status, n in counts.items())
    )
    for text in networks.assumed:
        print(f"assumed: {text}")


def _counts(networks: "PublishedNetworks") -> dict[str, int]:
    seen = Counter(line.status for line in networks.lines)
    return {status: seen[status] for status in ("ok", "missing", "unexpected", "shape", "unused")}


def _facts(networks: "PublishedNetworks") -> dict[str, object]:
    return {
        "layout": networks.layout,
        "counts": _counts(networks),
        "tensors": [
            {"name": line.name, "shape": line.shape, "status": line.status}
            for line in networks.lines
        ],
    }
