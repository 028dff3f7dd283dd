"""The lowerings: importing this package fills the tables of ``registry``."""

from __future__ import annotations

from . import control_flow, conv, cumulative, elementwise, indexing, linalg, random, sorting, windows

__all__ = ["control_flow", "conv", "cumulative", "elementwise", "indexing", "linalg", "random", "sorting", "windows"]
