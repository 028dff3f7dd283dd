"""The lowerings: importing this package fills the tables of ``registry``."""

from __future__ import annotations

from . import conv, indexing, linalg, sorting, windows

__all__ = ["conv", "indexing", "linalg", "sorting", "windows"]
