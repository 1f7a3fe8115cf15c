"""A browser for galleries."""

from chromium import browser

__all__ = ["browser"]
