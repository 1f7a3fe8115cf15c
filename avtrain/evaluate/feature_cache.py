"""Features that were computed before, kept beside the run that computed them.

::

    RUN/features/pooled-0123456789abcdef.safetensors   vectors by layer, and the samples they are of
    RUN/features/pooled-0123456789abcdef.json          what they are, for people

The name is a hash of all that they depend on (weights, shard set, windows ...): what was computed
with other weights or of another set has another name and is never read. Deleting the folder is
always safe.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from avdata import atomic_file, remove_partial_files

logger = logging.getLogger(__name__)

CACHE_NAME = "features"
SAMPLES = "samples"
"""Name of the int64 tensor that says which sample a row is of."""
_VERSION = 1

Facts = dict[str, object]
"""All that features depend on, as JSON takes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureCache:
    """Features in a folder, by what they depend on."""

    directory: Path

    def path(self, kind: str, facts: Facts) -> Path:
        """Where features of these facts lie."""
        return self.directory / f"{kind}-{facts_hash(facts)[:16]}.safetensors"

    def load(self, kind: str, facts: Facts) -> dict[str, Tensor] | None:
        """Vectors by layer with SAMPLES beside; None when there are none, or they are damaged."""
        path = self.path(kind, facts)
        try:
            return safetensors.torch.load_file(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            logger.warning("%s cannot be read (%s); its features are computed again", path, error)
            return None

    def save(self, kind: str, facts: Facts, tensors: dict[str, Tensor]) -> None:
        """Write features so that readers see the old ones or all new ones.

        A folder that cannot be written costs the next evaluation its time, and is no fault.
        """
        path = self.path(kind, facts)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            remove_partial_files(self.directory)
            with atomic_file(path.with_suffix(".json")) as file:
                file.write((json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())
            with atomic_file(path) as file:
                file.write(safetensors.torch.save({n: t.contiguous() for n, t in tensors.items()}))
        except OSError as error:
            logger.warning(
                "features cannot be kept in %s (%s): the next evaluation computes them again; "
                "--no-cache does not try",
                self.directory,
                error.strerror,
            )


def facts_hash(facts: Facts) -> str:
    """Hash of all that features depend on."""
    text = json.dumps({"version": _VERSION, **facts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def merge_rows(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rows of both, those of a sample that is in both taken from `new`, by sample."""
    kept = ~torch.isin(old[SAMPLES], new[SAMPLES])
    joined = {name: torch.cat([old[name][kept], new[name]]) for name in new}
    order = joined[SAMPLES].argsort()
    return {name: rows[order] for name, rows in joined.items()}
