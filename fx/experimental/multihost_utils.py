"""``fx.experimental.multihost_utils``: what processes tell one another; there is one."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import tree

__all__ = ["assert_equal", "broadcast_one_to_all", "process_allgather", "sync_global_devices"]


def process_allgather(in_tree: Any, tiled: bool = False) -> Any:
    """The arrays of all processes as NumPy arrays, stacked along a new first axis (of size 1), or joined with ``tiled``."""
    return tree.map(lambda x: np.asarray(x) if tiled else np.asarray(x)[None], in_tree)


def broadcast_one_to_all(in_tree: Any, is_source: bool | None = None) -> Any:
    """What the first process has, as NumPy arrays."""
    return tree.map(np.asarray, in_tree)


def sync_global_devices(name: str) -> None:
    """Waits for the other processes, of which there are none."""


def assert_equal(in_tree: Any, fail_message: str = "") -> None:
    """Checks that all processes have the same: the one has."""
