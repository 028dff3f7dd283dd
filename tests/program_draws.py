"""Drawing random programs: typed, bounded, printable.

A program is drawn from a list of *codes*; each code seeds the choice of one step among those that fit the pool, and a
code of 0 does nothing: so Hypothesis shrinks a failing program by switching steps off, and every list is a program.

While a program is drawn it is evaluated in double precision, which keeps it sane: a step whose result is not finite or
too large an array is left out, large values are scaled down by a power of two (which rounds nothing), and what decides
by comparing (sort, select, extremes, positions) compares *exact* values alone: inputs, and what only moved, negated or
scaled them.  Two correct evaluations then take the same decisions, and differ by rounding only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from programs import OPERATIONS, Program, Step

from fx.array import to_numpy

LARGEST = 8.0  # magnitudes above are scaled down


@dataclass
class _Pool:
    """Values met so far, in double precision, and which of them are exact."""

    rng: np.random.Generator
    values: list[np.ndarray]
    exact: list[bool]
    most: int
    n_inputs: int
    steps: list[Step] = field(default_factory=list)

    def floats(self, exact: bool = False, least: int = 0) -> list[int]:
        """Positions of float values (that are exact) with at least so many dimensions, recent ones more than once."""
        found = [
            i
            for i, v in enumerate(self.values)
            if v.dtype.kind == "f" and v.ndim >= least and (self.exact[i] or not exact)
        ]
        return found + found[-4:] * 2

    def one(self, **which: Any) -> int:
        found = self.floats(**which)
        if not found:
            raise _NoStep
        return int(self.rng.choice(found))

    def partner(self, x: int, exact: bool = False) -> int:
        """A value of the same shape."""
        found = [i for i in self.floats(exact) if self.values[i].shape == self.values[x].shape]
        if not found:
            raise _NoStep
        return int(self.rng.choice(found))

    def indices(self) -> int:
        return int(self.rng.choice([i for i, v in enumerate(self.values) if v.dtype.kind == "i"]))

    def axis(self, x: int) -> int:
        return int(self.rng.integers(self.values[x].ndim))

    def axes(self, x: int) -> tuple[int, ...]:
        return tuple(d for d in range(self.values[x].ndim) if self.rng.random() < 0.6)

    def add(self, name: str, *args: int, params: tuple[Any, ...] = (), exact: bool = False) -> None:
        given = [self.values[a] for a in args]
        value = to_numpy(OPERATIONS[name](*given, *params))
        if value.size > self.most or not np.isfinite(value).all():
            raise _NoStep
        self._append(Step(name, args, params), value, exact and all(self.exact[a] for a in args))
        size = np.abs(value).max(initial=0.0)
        if size > LARGEST:
            factor = 2.0 ** -math.ceil(math.log2(size / LARGEST) + 1)
            self._append(Step("scale", (len(self.values) - 1,), (factor,)), value * factor, self.exact[-1])

    def _append(self, step: Step, value: np.ndarray, exact: bool) -> None:
        self.steps.append(step)
        self.values.append(value)
        self.exact.append(exact)


class _NoStep(Exception):
    """The kind of step that was chosen does not fit the pool."""


UNARY = (
    "sin",
    "cos",
    "tanh",
    "logistic",
    "erf",
    "exp",
    "expm1",
    "atan",
    "square",
    "root",
    "log",
    "rsqrt",
    "cube",
    "clamp",
)
BINARY = ("add", "sub", "mul", "div", "angle", "pow", "add", "mul")


def _unary(p: _Pool) -> None:
    p.add(str(p.rng.choice(UNARY)), p.one())


def _sign(p: _Pool) -> None:
    p.add(str(p.rng.choice(["neg", "abs"])), p.one(), exact=True)


def _binary(p: _Pool) -> None:
    x = p.one()
    p.add(str(p.rng.choice(BINARY)), x, p.partner(x))


def _extreme(p: _Pool) -> None:
    x = p.one(exact=True)
    p.add(str(p.rng.choice(["max", "min"])), x, p.partner(x, exact=True), exact=True)


def _select(p: _Pool) -> None:
    k = p.one(exact=True)
    p.add("select", k, p.partner(k, exact=True), p.partner(k), p.partner(k), exact=True)


def _broadcast(p: _Pool) -> None:
    """To the shape of another value that ends in, begins with or holds this one's; or along a new axis."""
    x = p.one()
    shape = p.values[x].shape
    fits = []
    for i in p.floats():
        big = p.values[i].shape
        for start in range(len(big) - len(shape) + 1):
            if len(big) > len(shape) and big[start : start + len(shape)] == shape:
                fits.append((big, tuple(range(start, start + len(shape)))))
    if not fits:
        d = int(p.rng.integers(len(shape) + 1))
        new = (*shape[:d], int(p.rng.integers(1, 5)), *shape[d:])
        fits = [(new, tuple(i + (i >= d) for i in range(len(shape))))]
    p.add("broadcast", x, params=fits[int(p.rng.integers(len(fits)))], exact=True)


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, min(n, 70) + 1) if n % d == 0]


def _reshape(p: _Pool) -> None:
    x = p.one()
    left, new = p.values[x].size, []
    while left > 1 and len(new) < 2:
        new.append(int(p.rng.choice(_divisors(left))))
        left //= new[-1]
    p.add("reshape", x, params=((*new, left),), exact=True)


def _move(p: _Pool) -> None:
    x = p.one(least=1)
    n = p.values[x].ndim
    if p.rng.random() < 0.6:
        p.add("transpose", x, params=(tuple(int(d) for d in p.rng.permutation(n)),), exact=True)
    else:
        p.add("rev", x, params=(p.axes(x),), exact=True)


def _cut(p: _Pool) -> None:
    x = p.one(least=1)
    shape = p.values[x].shape
    if 0 in shape:
        raise _NoStep
    starts = tuple(int(p.rng.integers(n)) if p.rng.random() < 0.5 else 0 for n in shape)
    limits = tuple(int(p.rng.integers(s + 1, n + 1)) if p.rng.random() < 0.5 else n for s, n in zip(starts, shape))
    p.add("slice", x, params=(starts, limits, tuple(int(p.rng.integers(1, 3)) for _ in shape)), exact=True)


def _pad(p: _Pool) -> None:
    x = p.one(least=1)
    config = tuple(
        (int(p.rng.integers(-1 if n > 2 else 0, 3)), int(p.rng.integers(2)), int(p.rng.integers(2)))
        for n in p.values[x].shape
    )
    p.add("pad", x, params=(config,), exact=True)


def _concatenate(p: _Pool) -> None:
    x = p.one(least=1)
    d, shape = p.axis(x), p.values[x].shape

    def rest(i: int) -> tuple[int, ...]:
        return p.values[i].shape[:d] + p.values[i].shape[d + 1 :]

    fits = [i for i in p.floats(least=1) if p.values[i].ndim == len(shape) and rest(i) == rest(x)]
    p.add("concatenate", x, *(int(i) for i in p.rng.choice(fits, int(p.rng.integers(1, 3)))), params=(d,), exact=True)


def _reduce(p: _Pool) -> None:
    x = p.one(least=1)
    names = ["sum", "sum", "logsumexp"] + ["prod"] * (p.values[x].size < 200)  # long products leave the range of floats
    p.add(str(p.rng.choice(names)), x, params=(p.axes(x),))


def _reduce_exact(p: _Pool) -> None:
    x = p.one(exact=True, least=1)
    if 0 in p.values[x].shape:
        raise _NoStep
    name = str(p.rng.choice(["reduce_max", "reduce_min", "argmax"]))
    p.add(name, x, params=(p.axis(x) if name == "argmax" else p.axes(x),), exact=True)


def _scan(p: _Pool) -> None:
    name = str(p.rng.choice(["cumsum", "cumlogsumexp", "cummax"]))
    x = p.one(exact=name == "cummax", least=1)
    p.add(name, x, params=(p.axis(x), bool(p.rng.random() < 0.5)), exact=name == "cummax")


def _product(p: _Pool) -> None:
    x = p.one(least=1)
    i = p.axis(x)
    fits = [(y, j) for y in p.floats(least=1) for j, n in enumerate(p.values[y].shape) if n == p.values[x].shape[i]]
    y, j = fits[int(p.rng.integers(len(fits)))]
    if p.values[x].size * p.values[y].size > 3e7:
        raise _NoStep
    p.add("dot", x, y, params=(i, j))


def _sort(p: _Pool) -> None:
    x = p.one(exact=True, least=1)
    if p.rng.random() < 0.5:
        p.add("sort", x, params=(p.axis(x),), exact=True)
    elif p.rng.random() < 0.5:
        p.add("sort_by", x, p.partner(x), params=(p.axis(x),), exact=True)
    else:
        p.add("top", x, params=(int(p.rng.integers(0, p.values[x].shape[-1] + 1)),), exact=True)


def _index(p: _Pool) -> None:
    x = p.one(least=1)
    if 0 in p.values[x].shape:
        raise _NoStep
    kind = int(p.rng.integers(5))
    if kind == 0:
        p.add("rows", x, p.indices(), exact=True)
    elif kind == 1:
        rows = p.indices()
        fits = [y for y in p.floats(least=1) if p.values[y].shape == (*p.values[rows].shape, *p.values[x].shape[1:])]
        if not fits:
            raise _NoStep
        p.add("add_rows", x, rows, int(p.rng.choice(fits)))
    elif kind == 2:
        p.add("at", x, p.indices(), params=(int(p.rng.integers(1, p.values[x].shape[0] + 1)),), exact=True)
    elif kind == 3:
        n, rest = p.values[x].shape[0], p.values[x].shape[1:]
        fits = [y for y in p.floats(least=1) if p.values[y].shape[1:] == rest and p.values[y].shape[0] <= n]
        p.add("put", x, p.indices(), int(p.rng.choice(fits)), exact=True)
    else:
        p.add("count", x, p.indices(), exact=True)


def _pool(p: _Pool) -> None:
    name = str(p.rng.choice(["pool_max", "pool_sum"]))
    x = p.one(exact=name == "pool_max", least=1)
    shape = p.values[x].shape
    window = tuple(int(p.rng.integers(1, min(n, 3) + 1)) if n else 1 for n in shape)
    p.add(name, x, params=(window, tuple(int(p.rng.integers(1, 3)) for _ in shape)), exact=name == "pool_max")


def _conv(p: _Pool) -> None:
    x = p.one(least=1)
    fits = [k for k in p.floats(least=1) if 1 <= p.values[k].size <= 7]
    if not fits or p.values[x].size < 8:
        raise _NoStep
    p.add("conv", x, int(p.rng.choice(fits)))


def _noisy(p: _Pool) -> None:
    p.add("noise", p.one(), params=(int(p.rng.integers(1000)),), exact=True)


KINDS: list[tuple[Callable[[_Pool], None], int]] = [
    (_unary, 7), (_binary, 9), (_sign, 1), (_extreme, 2), (_select, 3), (_broadcast, 6), (_reshape, 3), (_move, 4), (_cut, 3),
    (_pad, 2), (_concatenate, 3), (_reduce, 5), (_reduce_exact, 2), (_scan, 3), (_product, 4), (_sort, 2), (_index, 4),
    (_pool, 2), (_conv, 1), (_noisy, 1),
]  # fmt: skip
_WEIGHTS = np.array([w for _, w in KINDS], float) / sum(w for _, w in KINDS)


def _step(pool: _Pool, code: int) -> None:
    """One step that fits the pool; none if eight choices do not."""
    pool.rng = np.random.default_rng(code)
    for _ in range(8):
        try:
            KINDS[int(pool.rng.choice(len(KINDS), p=_WEIGHTS))][0](pool)
            return
        except _NoStep:
            continue


def program(codes: Sequence[int], wide: bool = False) -> Program:
    """The program of these codes.  ``wide``: arrays large enough that threads share the work."""
    n, m = (12_001, 37) if wide else (5, 3)
    rng = np.random.default_rng(codes[0] if codes else 0)
    shapes = ((n, m), (m,), (n,), (m, 2, 4), ())
    inputs = tuple(rng.uniform(-2, 2, s).astype(np.float32) for s in shapes)
    constants = tuple(rng.integers(0, n, k).astype(np.int32) for k in (4, n))
    pool = _Pool(
        rng, [*(x.astype(np.float64) for x in inputs), *constants], [True] * 7, 600_000 if wide else 400, len(inputs)
    )
    for code in codes:
        if code:
            _step(pool, code)
    first = len(inputs) + len(constants)
    made = [i for i in range(first, len(pool.values)) if pool.values[i].dtype.kind == "f"]
    chosen = [i for i in made if not any(i in s.args for s in pool.steps)][-8:] or made[-1:] or [0]
    return Program(inputs, constants, tuple(pool.steps), tuple(chosen))
