"""``fx.experimental.mesh_utils``: arrays of devices, of which a ``Mesh`` is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..sharding import make_mesh

__all__ = ["create_device_mesh"]


def create_device_mesh(
    mesh_shape: Sequence[int], devices: Any = None, *, contiguous_submeshes: bool = False,
    allow_split_physical_axes: bool = False,
) -> np.ndarray:  # fmt: skip
    """An array of devices of that shape: the CPU at each position.

    >>> create_device_mesh((1, 2))
    array([[CpuDevice(id=0), CpuDevice(id=0)]], dtype=object)
    """
    return make_mesh(mesh_shape, [str(i) for i in range(len(mesh_shape))], devices=devices).devices
