"""A browser for the page of a shard set."""

from chromium import browser

__all__ = ["browser"]
