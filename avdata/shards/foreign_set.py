"""Sets made of third-party tars: how they are told, and counts of what the tars hold."""

from avdata.schema import DatasetSpec, Spec

INDEX_SOFTWARE = "avdata index"
"""Name in `software` of `dataset.json`: `avdata index` made the tables, others the tars."""
INDEX_MARK = "index"
"""Name in `config` of `build.json` that tells an index from a build."""


class TarRecord(Spec):
    """One tar in `config.tars` of `build.json`.

    ``members == members_in_samples + members_in_rows``.
    """

    num_bytes: int
    members: int
    """Entries of the tar, directories aside, as far as its headers can be read."""
    members_in_samples: int
    """Sum of `num_members` of its rows in the manifest."""
    members_in_rows: int
    """Length of all `members` of its rows in the rejects."""


def is_foreign(spec: DatasetSpec) -> bool:
    """Whether members keep their media's own clock: clips begin there at `decoded_start_s`.

    In sets of `avdata build` every member begins with its clip.
    """
    return INDEX_SOFTWARE in spec.software
