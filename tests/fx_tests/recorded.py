"""Answers of other libraries, recorded under ``tests/golden`` so that the tests need neither them nor their time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def answers(name: str, update: bool, compute: Callable[[], dict[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays in ``tests/golden/<name>.npz``; ``update`` (``--update-golden``) computes them anew.

    bfloat16 is recorded by its bits, as uint16.
    """
    file = GOLDEN / f"{name}.npz"
    if update:
        found = {key: np.asarray(value) for key, value in compute().items()}
        np.savez_compressed(file, **{k: a.view(np.uint16) if a.dtype.kind == "V" else a for k, a in found.items()})
    with np.load(file) as archive:
        return dict(archive)


def as_recorded(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """``want`` in the dtype it had before it was recorded, if that is the dtype of ``got``."""
    return want.view(got.dtype) if str(got.dtype) == "bfloat16" and want.dtype == np.uint16 else want
