"""The on-disk format: codecs, writing, sidecars, reading."""
