"""Graphs on a few numbers, written out into straight code: what a kernel holds that is a whole loop.

A loop whose body computes a handful of scalars (an integrator, a recurrence, a root finder) would spend its time
between kernels.  ``Unrolled`` evaluates such a body on values in registers, element by element; ``control_flow`` puts
the loop around it, in one kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fx.ir import Atom, Aval, Eqn, Graph, Literal, Var

from ..cost import flops_per_element
from ..loop_builder import KernelBuilder
from ..loop_ir import Op
from ..nest.emitter import literal, stands_in_code
from ..nest.index_map import dense_strides
from .reductions import COMBINE, REDUCTIONS, accumulator, carry_position, is_arg, reduced_axes, widen
from .registry import POINTWISE, Operand, Value
from .shaping import SHAPING
from .types import compute_type, ty_of

__all__ = ["Unrolled", "is_small", "number_key", "numbers"]

MAX_ELEMENTS = 16  # of one value
MAX_OPERATIONS = 400  # of a body: beyond, the code grows larger than what the loop costs
# Additions that functions cost, of a body that is one map.  Written out, the function of each element is code of its own, for
# which LLVM takes 0.1 ms an addition; in a kernel, a vector takes what one element does.  A sine of 8 numbers takes 17 ns written
# out and 21 in a kernel, four of them, which wait for each other, 97 and 43; the kernels are made in a tenth and half of the time.
MAX_REPEATED = 200
Elements = list[Value]  # a value as its elements in C order


def is_small(graph: Graph) -> bool:
    """Whether a graph is to be written out: few elements everywhere, and operations that ``Unrolled`` knows; no map that is a
    kernel by itself, with functions that take long to compile for every element."""
    total = 0
    for e in graph.eqns:
        if e.effect or any(a.aval.size > MAX_ELEMENTS for a in (*e.inputs, *e.outputs)):
            return False
        count = _operations(e)
        if count is None:
            return False
        total += count
    if total > MAX_OPERATIONS or any(v.aval.size > MAX_ELEMENTS for v in graph.inputs):
        return False
    return sum(map(_repeated, graph.eqns)) <= MAX_REPEATED or not _is_map(graph)


def _repeated(e: Eqn) -> int:
    """The cost of a function on all elements but one."""
    size, flops = e.outputs[0].aval.size, flops_per_element(e) if e.prim.name in POINTWISE else 0
    return flops * (size - 1) if flops >= 10 and size else 0


def _is_map(graph: Graph) -> bool:
    """Whether all results have one shape, and elements meet those of the same place and scalars."""
    shapes = {a.aval.shape for e in graph.eqns for a in (*e.inputs, *e.outputs)} - {()}
    return len(shapes) == 1 and all(
        e.prim.name in POINTWISE or any(a.aval.shape == () for a in e.inputs[:1]) for e in graph.eqns
    )


def _operations(e: Eqn) -> int | None:
    """How many operations the equation becomes; None if it cannot be written out."""
    name, out = e.prim.name, e.outputs[0].aval
    if name == "cond":
        branches = e.params["branches"]
        return sum(_operations(b) or 0 for g in branches for b in g.eqns) if all(map(is_small, branches)) else None
    if name in POINTWISE:
        # what costs more than a hundred additions is a polynomial of some length
        return sum(v.aval.size for v in e.outputs) * max(1, flops_per_element(e) // 10)
    if name in REDUCTIONS:
        return e.inputs[0].aval.size
    if name == "dot_general":
        if "permutation" in e.params:
            return None
        (lc, _), _ = e.params["dimension_numbers"]
        wide = out.dtype == e.inputs[0].aval.dtype and compute_type(ty_of(out.dtype)) == ty_of(out.dtype)
        return (
            out.size * int(np.prod([e.inputs[0].aval.shape[d] for d in lc])) if wide and out.dtype.kind != "b" else None
        )
    return 0 if name in SHAPING else None


def numbers(graph: Graph) -> list[Literal]:
    """The numbers in a graph that kernels read (``stands_in_code``), each once, in the order in which they stand there."""
    found: dict[Any, Literal] = {}
    for e in graph.eqns:
        held = [x for g in e.params["branches"] for x in numbers(g)] if e.prim.name == "cond" else []
        for a in (*e.inputs, *held):
            _note(a, found)
    for a in graph.outputs:
        _note(a, found)
    return list(found.values())


def _note(a: Atom, found: dict[Any, Literal]) -> None:
    if isinstance(a, Literal) and not stands_in_code(a.value, a.aval.dtype):
        found.setdefault(number_key(a), a)


def number_key(a: Literal) -> Any:
    """Equal for numbers of the same bits."""
    return a.aval.dtype, a.bits


class Unrolled:
    """Evaluates graphs on elements in the registers of a kernel under construction.

    numbers: by ``number_key``, those that have been read.
    """

    def __init__(self, b: KernelBuilder) -> None:
        self.b = b
        self.numbers: dict[Any, Value] = {}

    def __call__(self, graph: Graph, inputs: Sequence[Elements]) -> list[Elements]:
        env: dict[Var, Elements] = dict(zip(graph.inputs, inputs, strict=True))

        def read(a: Atom) -> Elements:
            if not isinstance(a, Literal):
                return env[a]
            known = self.numbers.get(number_key(a))
            return [literal(a.value, a.aval.dtype) if known is None else known]

        for e in graph.eqns:
            for v, elements in zip(e.outputs, self._equation(e, [read(a) for a in e.inputs])):
                env[v] = elements
        return [read(a) for a in graph.outputs]

    def named(self, value: Value, name: str) -> Value:
        """The value, computed here and once."""
        if isinstance(value, tuple):
            return tuple(self.named(part, name) for part in value)
        return self.b.let(name, value) if isinstance(value, Op) else value

    def _equation(self, e: Eqn, ins: list[Elements]) -> list[Elements]:
        name = e.prim.name
        if name == "cond":
            return self._cond(e, ins)
        if name in POINTWISE:
            return self._pointwise(e, ins)
        if name in REDUCTIONS:
            return [self._reduction(e, ins[0])]
        if name == "dot_general":
            return [self._product(e, *ins)]
        return [_moved(e, k, ins) for k in range(len(e.outputs))]

    def _pointwise(self, e: Eqn, ins: list[Elements]) -> list[Elements]:
        results = []
        for values in zip(*ins):
            out = POINTWISE[e.prim.name](self.b, e, *values)
            out = out if len(e.outputs) > 1 else (out,)
            results.append([self.named(x, e.prim.name) for x in out])
        return [list(column) for column in zip(*results)] if results else [[] for _ in e.outputs]

    def _reduction(self, e: Eqn, x: Elements) -> Elements:
        shape, dtype = e.inputs[0].aval.shape, e.inputs[0].aval.dtype
        rule, out = REDUCTIONS[e.prim.name], e.outputs[0].aval
        axes = reduced_axes(e)
        index = np.moveaxis(np.arange(len(x)).reshape(shape), axes, range(-len(axes), 0)).reshape(out.size, -1)
        return [self.named(self._reduced(rule.op, [x[i] for i in row], dtype, out.dtype), rule.op) for row in index]

    def _reduced(self, op: str, row: Elements, dtype: np.dtype, result: np.dtype) -> Value:
        if is_arg(op):
            best, at = row[0], literal(0, result)
            for k, x in enumerate(row[1:], 1):
                best, at = carry_position(self.b, op, best, at, x, literal(k, result))
            return at
        wide = accumulator(op, dtype)
        if not row:
            return literal(REDUCTIONS[f"reduce_{op}"].identity(dtype), result)
        total = widen(row[0], wide)
        for x in row[1:]:
            total = COMBINE[op](self.b, total, widen(x, wide))
        return widen(total, result)

    def _product(self, e: Eqn, x: Elements, y: Elements) -> Elements:
        """Sums in the order of the contracted index."""
        (lc, rc), (lb, rb) = e.params["dimension_numbers"]
        left = _arranged(e.inputs[0].aval, len(x), lb, lc)
        right = _arranged(e.inputs[1].aval, len(y), rb, rc)
        out: Elements = []
        for a, c in zip(left, right):
            for row, column in itertools.product(a, c):
                terms = [POINTWISE["mul"](self.b, e, x[i], y[j]) for i, j in zip(row, column)]
                dtype = e.outputs[0].aval.dtype
                out.append(self.named(self._reduced("sum", terms, dtype, dtype), "dot"))
        return out

    def _cond(self, e: Eqn, ins: list[Elements]) -> list[Elements]:
        """The branches as nested ifs that assign their results to variables."""
        branches: tuple[Graph, ...] = e.params["branches"]
        results = [[self._variable(v.aval.dtype) for _ in range(v.aval.size)] for v in e.outputs]

        def choose(k: int) -> None:
            if k == len(branches) - 1:
                self._assign(results, self(branches[k], ins[1:]))
                return
            with self.b.if_(ins[0][0] <= k):
                self._assign(results, self(branches[k], ins[1:]))
            with self.b.else_():
                choose(k + 1)

        choose(0)
        return [[self._copy(x) for x in elements] for elements in results]

    def _variable(self, dtype: np.dtype) -> Value:
        zero = literal(0, dtype)
        return tuple(self.b.var("v", part) for part in zero) if isinstance(zero, tuple) else self.b.var("v", zero)

    def _copy(self, x: Value) -> Value:
        return tuple(self.b.let("t", part) for part in x) if isinstance(x, tuple) else self.b.let("t", x)

    def variables(self, name: str, values: Elements) -> Elements:
        """Mutable locals that begin with these values."""
        return [tuple(self.b.var(name, p) for p in v) if isinstance(v, tuple) else self.b.var(name, v) for v in values]

    def update(self, old: Sequence[Elements], new: Sequence[Elements]) -> None:
        """Assigns all new values at once: none is read after another was changed."""
        self._assign(old, [[self._copy(x) for x in elements] for elements in new])

    def _assign(self, variables: Sequence[Elements], values: Sequence[Elements]) -> None:
        for v, x in zip(itertools.chain(*variables), itertools.chain(*values)):
            for p, q in zip(v, x) if isinstance(v, tuple) else ((v, x),):
                self.b.assign(p, q)

    # ------------------------------------------------------------------ memory

    def load(self, buffer: str, dtype: np.dtype, at: Any) -> Value:
        if dtype.kind == "c":
            return tuple(self.b.let("x", self.b.load(buffer, at * 2 + k)) for k in (0, 1))
        return self.b.let("x", self.b.load(buffer, at))

    def store(self, buffer: str, at: Any, value: Value) -> None:
        for k, part in enumerate(value if isinstance(value, tuple) else (value,)):
            self.b.store(buffer, at * 2 + k if isinstance(value, tuple) else at, part)


def _arranged(aval: Aval, n: int, batch: Sequence[int], contract: Sequence[int]) -> np.ndarray:
    """Positions of the elements of an operand: (batch, free, contracted)."""
    free = [d for d in range(aval.ndim) if d not in batch and d not in contract]
    order = np.arange(n).reshape(aval.shape).transpose(*batch, *free, *contract)
    sizes = [int(np.prod([aval.shape[d] for d in dims])) for dims in (batch, free, contract)]
    return order.reshape(sizes)


def _moved(e: Eqn, k: int, ins: list[Elements]) -> Elements:
    """The result of an operation that only moves elements, or makes them from their place."""
    name, out = e.prim.name, e.outputs[k].aval
    if name == "iota":
        index = np.indices(out.shape)[e.params["dimension"]].ravel()
        return [literal(int(i), out.dtype) for i in index]
    if name == "concatenate":
        d, start = e.params["dimension"], 0
        place = np.empty(out.shape, np.int64)
        joined: Elements = []
        for a, x in zip(e.inputs, ins):
            n = a.aval.shape[d]
            block = np.arange(len(joined), len(joined) + len(x)).reshape(a.aval.shape)
            place[(slice(None),) * d + (slice(start, start + n),)] = block
            joined += x
            start += n
        return [joined[i] for i in place.ravel()]
    aval = e.inputs[k].aval
    view = SHAPING[name].view(e, k, Operand(0, aval.shape, dense_strides(aval.shape), 0, aval.dtype))
    if view is None:  # pad
        return _padded(e, ins)
    grid = np.full(view.shape, view.offset)
    for d, stride in enumerate(view.strides):
        grid = grid + np.arange(view.shape[d]).reshape([-1 if i == d else 1 for i in range(len(view.shape))]) * stride
    return [ins[k][i] for i in grid.ravel()]


def _padded(e: Eqn, ins: list[Elements]) -> Elements:
    x, (value,) = ins
    shape, out = e.inputs[0].aval.shape, e.outputs[0].aval.shape
    elements = [value] * int(np.prod(out))
    for i, index in enumerate(np.ndindex(*shape)):
        at = [lo + j * (inner + 1) for j, (lo, _, inner) in zip(index, e.params["padding_config"])]
        if all(0 <= a < n for a, n in zip(at, out)):
            elements[int(np.ravel_multi_index(at, out)) if out else 0] = x[i]
    return elements
