"""Small data sets that are part of the package; see ATTRIBUTION.md for their sources."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .mnist import Split, in_one_line

__all__ = ["Table", "breast_cancer", "diabetes", "digits", "sunspots"]

_FILE = Path(__file__).with_name("tables.npz")
_DIGITS = Path(__file__).with_name("digits.npz")


class Table(NamedTuple):
    """Features, float64 of shape (examples, columns), a target for each example, and the columns' names."""

    features: np.ndarray
    targets: np.ndarray
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return in_one_line(self)


def _table(name: str) -> Table:
    with np.load(_FILE) as archive:
        values, names = archive[name], archive[f"{name}_names"]
    return Table(values[:, :-1].copy(), values[:, -1].copy(), tuple(map(str, names)))


def diabetes() -> Table:
    """442 patients: ten measurements, and how far the disease had gone a year later (float64).

    Source: Efron, Hastie, Johnstone, Tibshirani, "Least angle regression", 2004.

    >>> diabetes().features.shape
    (442, 10)
    """
    return _table("diabetes")


def breast_cancer() -> Table:
    """569 tumours: thirty measurements of cell nuclei, and whether the tumour is benign (int32, 1) or malignant (0).

    Source: Street, Wolberg, Mangasarian, "Nuclear feature extraction for breast tumor diagnosis", 1993.

    >>> features, benign, names = breast_cancer()
    >>> features.shape, int(benign.sum()), names[0]
    ((569, 30), 357, 'mean radius')
    """
    features, targets, names = _table("breast_cancer")
    return Table(features, targets.astype(np.int32), names)


def sunspots() -> Table:
    """Monthly mean numbers of sunspots from January 1749 to June 2009, with the time of each month in years.

    >>> times, numbers, names = sunspots()
    >>> times.shape, numbers[:3], float(times[-1, 0])
    ((3126, 1), array([58. , 62.6, 70. ]), 2009.4166666666667)
    """
    return _table("sunspots")


def digits() -> Split:
    """1,797 handwritten digits of 8 x 8 pixels: float32 from 0 to 1 of shape (1797, 8, 8, 1), and labels, int32.

    >>> digits().images.shape
    (1797, 8, 8, 1)
    """
    with np.load(_DIGITS) as archive:
        images, labels = archive["x"], archive["y"]
    return Split(images.reshape(-1, 8, 8, 1) / np.float32(16), labels.astype(np.int32))
