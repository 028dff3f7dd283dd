"""The lowerings: importing this package fills the tables of ``registry``."""

from __future__ import annotations

from . import indexing, linalg, windows

__all__ = ["indexing", "linalg", "windows"]
