"""``fx.extend``: what programs that extend the library need: ``fx.extend.core``, the types of graphs, ..."""

from __future__ import annotations

from . import core, linear_util, source_info_util

__all__ = ["core", "linear_util", "source_info_util"]
