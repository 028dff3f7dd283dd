"""Random NumPy programs over one memory: views of views, writes through any of them, copies between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any


def _slices(r: np.random.Generator, x: Array) -> tuple[slice, ...]:
    def one(n: int) -> slice:
        step = int(r.choice([1, 1, 2, -1]))
        if r.random() < 0.5:
            return slice(None, None, step)
        return slice(int(r.integers(0, n + 1)), int(r.integers(0, n + 1)), step)

    return tuple([one(n) for n in x.shape])


def _row(r: np.random.Generator, x: Array) -> int:
    return int(r.integers(0, x.shape[0]))


def _reshaped(r: np.random.Generator, x: Array) -> Array:
    return [lambda: x.reshape(-1), lambda: x.reshape(x.shape[::-1]), lambda: np.reshape(x, (1, -1))][r.integers(3)]()


VIEWS: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "slice": lambda r, x: x[_slices(r, x)],
    "row": lambda r, x: x[_row(r, x)],
    "transpose": lambda r, x: x.T,
    "swap": lambda r, x: np.swapaxes(x, 0, -1),
    "reshape": _reshaped,
    "ravel": lambda r, x: x.ravel(),
    "new axis": lambda r, x: x[:, None],
    "squeeze": lambda r, x: np.squeeze(x),
    "flip": lambda r, x: np.flip(x),
    "half": lambda r, x: np.array_split(x, 2)[0],
    "copy": lambda r, x: x.copy(),
}


def _set(r: np.random.Generator, x: Array) -> None:
    x[_row(r, x)] = r.random()


def _set_part(r: np.random.Generator, x: Array) -> None:
    x[_slices(r, x)] = r.random()


def _scale_part(r: np.random.Generator, x: Array) -> None:
    x[_slices(r, x)] *= 1.5


def _add(r: np.random.Generator, x: Array) -> None:
    x += r.random()


def _center(r: np.random.Generator, x: Array) -> None:
    x -= x.sum()


def _ends(r: np.random.Generator, x: Array) -> None:
    x[0] = x[-1] * 2


def _swap_ends(r: np.random.Generator, x: Array) -> None:
    x[[0, -1]] = x[[-1, 0]] + 1


def _reverse(r: np.random.Generator, x: Array) -> None:
    x[...] = x[::-1]


def _mask(r: np.random.Generator, x: Array) -> None:
    x[x > r.random()] *= 0.5


def _out(r: np.random.Generator, x: Array) -> None:
    np.multiply(x, 0.5, out=x)


WRITES = (_set, _set_part, _scale_part, _add, _center, _ends, _swap_ends, _reverse, _mask, _out)


def run(seed: int, a: Array) -> list[Array]:
    """The program of a seed on an array; all arrays that it made (the first is ``a``)."""
    r = np.random.default_rng(seed)
    pool = [a]
    for _ in range(int(r.integers(3, 10))):
        x = pool[r.integers(len(pool))]
        usable = x.ndim > 0 and x.shape[0] > 0
        if r.random() < 0.5:
            name = str(r.choice(list(VIEWS)))
            fits = x.ndim >= 2 if name in ("row", "swap") else x.ndim < 4 if name == "new axis" else x.size > 0
            if usable and fits:
                pool.append(VIEWS[name](r, x))
        elif usable:
            WRITES[r.integers(len(WRITES))](r, x)
    return pool
