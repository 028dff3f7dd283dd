"""Drawing random programs of loops and conditionals, nested, closing over what is around them.

All values are vectors of three numbers, kept in a small range.  A program is drawn from a list of codes, one for each
statement; a code of 0 does nothing, so Hypothesis shrinks a failing program by switching statements off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fx import lax
from fx import numpy as fnp

SIZE = 3
Pool = list[Any]


@dataclass(frozen=True)
class Statement:
    """``pool.append(run(pool))``; ``text`` is how it is written."""

    run: Callable[[Pool], Any]
    text: str


@dataclass(frozen=True)
class Block:
    """Statements over a pool; the result is what the last ones made."""

    statements: tuple[Statement, ...]

    def __call__(self, pool: Pool) -> Any:
        return self.values(pool, 1)[0]

    def values(self, pool: Pool, n: int) -> list[Any]:
        """The last ``n`` values."""
        pool = list(pool)
        for s in self.statements:
            pool.append(s.run(pool))
        return pool[-n:]

    def text(self, size: int, indent: str) -> str:
        return "".join(f"\n{indent}v{size + k} = {s.text}" for k, s in enumerate(self.statements))


UNARY: dict[str, Callable[[Any], Any]] = {
    "sin": lax.sin, "cos": lax.cos, "tanh": lax.tanh, "square": lambda x: lax.tanh(x * x), "flip": lambda x: x[::-1],
    "max": lambda x: fnp.zeros_like(x) + x.max(), "clip": lambda x: fnp.clip(x, -0.4, 0.7), "stop": lambda x: lax.stop_gradient(x) * 0.5,
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + 0.3 * y, "mul": lambda x, y: x * y, "sub": lambda x, y: 0.7 * x - y,
    "where": lambda x, y: fnp.where(x > y, x, y * 0.5), "dot": lambda x, y: lax.tanh(x * fnp.dot(x, y)),
}  # fmt: skip


def _block(rng: np.random.Generator, size: int, depth: int, least: int = 1) -> Block:
    statements: list[Statement] = []
    for _ in range(int(rng.integers(least, least + 2))):
        statements.append(_statement(rng, size + len(statements), depth))
    return Block(tuple(statements))


def _statement(rng: np.random.Generator, size: int, depth: int) -> Statement:
    i, j = (int(k) for k in rng.integers(max(0, size - 5), size, 2))
    kind = str(rng.choice(["unary", "binary", *(["scan", "fori", "while", "cond", "switch", "map"] * (depth > 0))]))
    if kind == "unary":
        name = str(rng.choice(list(UNARY)))
        return Statement(lambda p: UNARY[name](p[i]), f"{name}(v{i})")
    if kind == "binary":
        name = str(rng.choice(list(BINARY)))
        return Statement(lambda p: BINARY[name](p[i], p[j]), f"{name}(v{i}, v{j})")
    return _CONTROL[kind](rng, size, depth - 1, i, j)


def _scan(rng: np.random.Generator, size: int, depth: int, i: int, j: int) -> Statement:
    block, reverse, n = _block(rng, size + 2, depth, least=2), bool(rng.random() < 0.5), int(rng.integers(0, 4))
    which = int(rng.integers(3))

    def run(p: Pool) -> Any:
        def body(c: Any, x: Any) -> Any:
            y, c = block.values([*p, c, x], 2)
            return c, (y, c, p[j])

        xs = fnp.stack([p[k % size] * 0.5 for k in range(i, i + n)]) if n else fnp.zeros((0, SIZE), p[i].dtype)
        last, ys = lax.scan(body, p[i], xs, reverse=reverse)
        return last if which == 2 else fnp.tanh(last + ys[which].sum(0))

    made = "last carry" if which == 2 else f"tanh(last carry + sum of ys[{which}])"
    head = f"{made} of scan over {n}{', reversed' if reverse else ''}, from v{i}; v{size} is the carry:"
    return Statement(run, head + block.text(size + 2, "    "))


def _fori(rng: np.random.Generator, size: int, depth: int, i: int, j: int) -> Statement:
    block, n = _block(rng, size + 1, depth), int(rng.integers(0, 4))
    run = lambda p: lax.fori_loop(0, n, lambda k, v: block([*p, v + fnp.asarray(k, v.dtype) * 0.1]), p[i])  # noqa: E731
    return Statement(run, f"fori_loop 0..{n} from v{i}:" + block.text(size + 1, "    "))


def _while(rng: np.random.Generator, size: int, depth: int, i: int, j: int) -> Statement:
    block, n, limit = _block(rng, size + 1, depth), int(rng.integers(0, 5)), float(rng.uniform(-0.5, 1.5))
    run = lambda p: lax.while_loop(lambda v: (v * p[j]).sum() < limit, lambda v: block([*p, v]), p[i], max_steps=n)  # noqa: E731
    return Statement(
        run, f"while (v * v{j}).sum() < {limit}, at most {n} times, from v{i}:" + block.text(size + 1, "    ")
    )


def _cond(rng: np.random.Generator, size: int, depth: int, i: int, j: int) -> Statement:
    yes, no = _block(rng, size, depth), _block(rng, size, depth)
    run = lambda p: lax.cond(p[j].sum() > 0.2, lambda: yes(p), lambda: no(p))  # noqa: E731
    return Statement(run, f"if v{j}.sum() > 0.2:{yes.text(size, '    ')}\n  else:{no.text(size, '    ')}")


def _switch(rng: np.random.Generator, size: int, depth: int, i: int, j: int) -> Statement:
    blocks = [_block(rng, size + 1, depth) for _ in range(3)]

    def run(p: Pool) -> Any:
        which = lax.convert_element_type(lax.floor(p[j].sum() * 2) + 1, np.int32)
        return lax.switch(which, [lambda v, b=b: b([*p, v]) for b in blocks], p[i])

    return Statement(
        run, f"switch floor(v{j}.sum() * 2) + 1:" + "".join(b.text(size + 1, "    ") + "\n  or" for b in blocks)
    )


def _map(rng: np.random.Generator, size: int, depth: int, i: int, j: int) -> Statement:
    block, batch = _block(rng, size + 1, depth), [None, 2][int(rng.integers(2))]
    run = lambda p: lax.map(lambda x: block([*p, x]), fnp.stack([p[i], p[j], p[-1]]), batch_size=batch).sum(0) * 0.4  # noqa: E731
    return Statement(run, f"sum of map over v{i}, v{j}, the last (batches of {batch}):" + block.text(size + 1, "    "))


_CONTROL = {"scan": _scan, "fori": _fori, "while": _while, "cond": _cond, "switch": _switch, "map": _map}


@dataclass(frozen=True)
class ControlFlow:
    """A function of its inputs to a tuple of vectors."""

    inputs: tuple[np.ndarray, ...]
    block: Block

    def __call__(self, *xs: Any) -> tuple[Any, ...]:
        return tuple(self.block.values(list(xs), 2))

    def __repr__(self) -> str:
        return f"{len(self.inputs)} inputs" + self.block.text(len(self.inputs), "  ") + "\n  return the last two"


def control_flow(codes: Sequence[int], depth: int = 2) -> ControlFlow:
    """The program of these codes."""
    rng = np.random.default_rng(codes[0] if codes else 0)
    inputs = tuple(rng.uniform(-1, 1, SIZE) for _ in range(3))
    statements: list[Statement] = []
    for code in codes:
        if code:
            statements.append(_statement(np.random.default_rng(code), len(inputs) + len(statements), depth))
    return ControlFlow(inputs, Block(tuple(statements)))
