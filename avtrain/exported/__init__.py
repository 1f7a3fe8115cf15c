"""Networks in a folder of their own: what `avtrain export` and `avtrain import` write.

`config.json` says what the tensors are and what they take; neither run nor shard set is needed.
"""

from avtrain.exported.folder import (
    AudioInput,
    BankFacts,
    ExportConfig,
    ExportedModel,
    VideoInput,
    is_export,
    read_exported,
    write_exported,
)

__all__ = [
    "AudioInput",
    "BankFacts",
    "ExportConfig",
    "ExportedModel",
    "VideoInput",
    "is_export",
    "read_exported",
    "write_exported",
]
