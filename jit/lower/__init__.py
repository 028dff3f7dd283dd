"""The lowerings: importing this package fills the tables of ``registry``."""

from __future__ import annotations

from . import indexing, windows

__all__ = ["indexing", "windows"]
