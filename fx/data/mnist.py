"""The 10,000 handwritten digits that are part of the package; see ATTRIBUTION.md for their source and licence."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["MNIST", "Split", "mnist"]

_FILE = Path(__file__).with_name("mnist10k.npz")
_SPLIT_SEED = 0


class Split(NamedTuple):
    """Images, float32 from 0 to 1 of shape (n, 28, 28, 1), and their labels, int32 of shape (n,)."""

    images: np.ndarray
    labels: np.ndarray


class MNIST(NamedTuple):
    """What to train on, and what is held out."""

    train: Split
    test: Split


def mnist() -> MNIST:
    """The embedded digits: 8,000 for training and 2,000 held out.

    The split is always the same, and stratified: every digit has its share in both parts.
    """
    with np.load(_FILE) as archive:
        images, labels = archive["x"], archive["y"]
    test = _stratified(labels, 2000)
    parts = [np.setdiff1d(np.arange(len(labels)), test), test]
    pixels = (images.reshape(-1, 28, 28, 1) / np.float32(255)).astype(np.float32)
    return MNIST(*[Split(pixels[i], labels[i].astype(np.int32)) for i in parts])


def _stratified(labels: np.ndarray, size: int) -> np.ndarray:
    """Sorted positions of ``size`` labels, of each kind its share (by largest remainders)."""
    counts = np.bincount(labels)
    shares = counts * size / len(labels)
    taken = np.floor(shares).astype(int)
    taken[np.argsort(taken - shares, kind="stable")[: size - taken.sum()]] += 1
    rng = np.random.RandomState(_SPLIT_SEED)  # its stream is frozen, that of the newer generators is not
    chosen = [rng.permutation(np.flatnonzero(labels == kind))[:n] for kind, n in enumerate(taken)]
    return np.sort(np.concatenate(chosen))
