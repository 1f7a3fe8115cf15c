"""Is a shard set made of somebody else's tars?"""

from avdata.schema import DatasetSpec

INDEX_SOFTWARE = "avdata index"
"""Name in `software` of `dataset.json`: `avdata index` made the tables, others the tars."""
INDEX_MARK = "index"
"""Name in `config` of `build.json` that tells an index from a build."""


def is_foreign(spec: DatasetSpec) -> bool:
    """Whether members keep their media's own clock: clips begin there at `decoded_start_s`.

    In sets of `avdata build` every member begins with its clip.
    """
    return INDEX_SOFTWARE in spec.software
