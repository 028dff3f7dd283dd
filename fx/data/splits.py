"""Parts of a data set: for training and validation, in the shares of their labels, or in folds."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..errors import DataError
from ..misnamed import explained

__all__ = ["k_fold", "split"]

_POSITIONS = "The positions come back sorted; data.batches(..., key=key) shuffles them anew for each epoch."
_ELSEWHERE = {  # scikit-learn's and PyTorch's names
    "test_size": "held_out", "valid_size": "held_out", "validation_split": "held_out", "lengths": "held_out",
    "train_size": "held_out is the part that is not trained on: write held_out=1 - train_size.",
    "n_splits": "k", "random_state": "seed", "key": "seed is an int: positions are chosen by NumPy, before any training.",
    "rng": "seed", "generator": "seed", "stratify": "labels", "y": "labels", "targets": "labels", "shuffle": _POSITIONS,
}  # fmt: skip


def stratified_sample(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Sorted positions of ``size`` labels, of each kind its share (by largest remainders)."""
    kinds, counts = np.unique(labels, return_counts=True)
    shares = counts * size / len(labels)
    taken = np.floor(shares).astype(int)
    taken[np.argsort(taken - shares, kind="stable")[: size - taken.sum()]] += 1
    rng = np.random.RandomState(seed)  # its stream is frozen, that of the newer generators is not
    chosen = [rng.permutation(np.flatnonzero(labels == kind))[:n] for kind, n in zip(kinds, taken)]
    return np.sort(np.concatenate(chosen))


@explained(_ELSEWHERE)
def split(n: int, held_out: float | int, *, seed: int = 0, labels: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Positions for training and for validation, chosen by chance, each sorted.

    Args:
        n: number of examples.
        held_out: how many of them for validation: a part (a float) or a number (an int).
        seed: the same seed gives the same split.
        labels: array of n labels: every kind gets its share in both parts (stratified).

    Raises:
        DataError: one of the parts would be empty, or there are not n labels.

    >>> x, y = np.arange(10.0), np.array([0] * 5 + [1] * 5)
    >>> train, validation = split(len(x), 0.2, labels=y)
    >>> x[validation], y[validation]
    (array([2., 5.]), array([0, 1]))
    """
    n, seed = _number(n, "split", 0.1), _seed(seed, "split")
    size = _part(n, held_out)
    if not 0 < size < n:
        raise DataError(f"split: {size} of {n} examples held out leaves one part empty; found held_out={held_out!r}")
    kinds = _labels(labels, n, "split")
    validation = stratified_sample(np.zeros(n, int) if kinds is None else kinds, size, seed)
    return np.setdiff1d(np.arange(n), validation), validation


@explained(_ELSEWHERE)
def k_fold(n: int, k: int, *, seed: int = 0, labels: Any = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """k pairs of positions (training, validation): every example is held out once.

    Args:
        n: number of examples.
        k: number of folds; their sizes differ by at most 1 (with labels: of each kind).
        seed: the same seed gives the same folds.
        labels: array of n labels: every kind is spread evenly over the folds.

    Raises:
        DataError: k is not between 2 and n, or there are not n labels.

    >>> [validation.tolist() for _, validation in k_fold(5, 2)]
    [[1, 2, 4], [0, 3]]
    """
    n, seed = _number(n, "k_fold", 5), _seed(seed, "k_fold")
    if not isinstance(k, (int, np.integer)) or not 2 <= k <= n:
        raise DataError(f"k_fold takes k, an int from 2 to the number of examples, {n}; found {k!r}")
    kinds = _labels(labels, n, "k_fold")
    order = np.random.RandomState(seed).permutation(n)
    if kinds is not None:
        order = order[np.argsort(kinds[order], kind="stable")]
    folds = [np.sort(order[i::k]) for i in range(k)]
    return [(np.setdiff1d(np.arange(n), fold), fold) for fold in folds]


def _number(n: Any, who: str, second: float) -> int:
    try:
        return operator.index(n)
    except TypeError:
        kind = f"an array of shape {n.shape}" if hasattr(n, "shape") else f"{type(n).__name__} {n!r:.60}"
        raise DataError(
            f"{who} takes the number of examples, and gives their positions; found {kind}."
            f" Write data.{who}(len(x), {second}), or data.{who}(len(x), {second}, labels=y) for the shares of each label."
        ) from None


def _part(n: int, held_out: Any) -> int:
    """How many of n examples are held out: a part of them, or a number."""
    if isinstance(held_out, (float, np.floating)) and np.isfinite(held_out):
        return round(n * float(held_out))
    if not isinstance(held_out, (int, np.integer)) or isinstance(held_out, bool):
        raise DataError(
            f"split: held_out is a part of the examples (a float between 0 and 1) or a number of them (an int); found {held_out!r}"
        )
    return int(held_out)


def _seed(seed: Any, who: str) -> int:
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 32:
        raise DataError(f"{who} takes a seed, an int from 0 to 2**32 - 1; found {seed!r}")
    return int(seed)


def _labels(labels: Any, n: int, who: str) -> np.ndarray | None:
    if labels is None:
        return None
    found = np.asarray(labels)
    if found.shape != (n,):
        raise DataError(f"{who}: one label for each of {n} examples; found shape {found.shape}")
    return found
