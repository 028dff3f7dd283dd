"""``fx.experimental.shard_map``: the older place of ``fx.shard_map``."""

from __future__ import annotations

from ..shard_mapping import shard_map

__all__ = ["shard_map"]
