"""Which loops compute every row by itself, and into what blocks of rows they are cut.

A recurrent network over a batch, a simulation of many particles, a vmapped solver: each row of what the loop carries depends on
the same row of the iteration before, never on another one.  Such a loop is a loop over blocks of rows, each of which runs through all
iterations alone.  Blocks run on any thread with nothing to wait for between two steps or two iterations, and what a
block carries stays in the caches of its thread.

``by_rows`` finds out, from what is wanted backwards: of an output the rows of a block, or all of a value that no row changes.
``block_rows`` says how many rows a block has; a function of sizes and the machine, never of the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fx.ir import Atom, Aval, Eqn, Graph, Literal, Var
from fx.sizes import alike, is_sized, late, plain

from ..cost import PIECE_NS, flops_per_element
from .contraction import FLOPS_PER_NS
from .reductions import REDUCTIONS, reduced_axes
from .registry import POINTWISE, Host

__all__ = ["ByRows", "block_rows", "by_rows"]

# Iterations with products that take longer gain nothing: threads meet seldom, and blocks are well cut.
LONG_STEP_NS = 300_000.0
# What a block takes of an iteration, so that the kernels' calls are a few percent of it; of one of two at least.
STEP_NS, PRODUCT_STEP_NS, LEAST_NS = 4_000.0, 8_000.0, 750.0
# Rows of a block with products at least; of one where the first-level cache does not hold the matrices.
ROWS, WEIGHTY_ROWS = 8, 16
PIECES = 16  # blocks, unless the caches want more
REPEATED = 16  # what every block computes again takes at most this part of an iteration
ADDITIONS_PER_NS, CACHED_BYTES_PER_NS = 48.0, 40.0
LINE = 64
SAME_ROWS = {"copy", "name", "stop_gradient", "optimization_barrier"}


@dataclass(frozen=True)
class ByRows:
    """A loop's body on some of its rows.

    n: all rows.  inputs, outputs: which of the body's are cut by rows; the others are the same for all.
    eqns: what is computed, and whether by rows.
    kept_bytes: of what all rows read again in the next iteration.
    """

    n: int
    graph: Graph
    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]
    eqns: tuple[tuple[Eqn, bool], ...]
    kept_bytes: int

    def of(self, rows: int) -> Graph:
        """The body on so many rows."""
        made: dict[tuple[Var, bool], Var] = {}

        def new(v: Var, cut: bool) -> Var:
            return Var(Aval((rows, *v.aval.shape[1:]), v.aval.dtype, v.aval.weak) if cut else v.aval)

        inputs = [new(v, cut) for v, cut in zip(self.graph.inputs, self.inputs)]
        made.update({(v, cut): x for v, cut, x in zip(self.graph.inputs, self.inputs, inputs)})

        def atom(a: Atom, cut: bool) -> Atom:
            return a if isinstance(a, Literal) else made[a, cut]

        eqns = []
        for e, cut in self.eqns:
            marks = _operands(e, self.n) if cut else (False,) * len(e.inputs)
            assert marks is not None
            outs = tuple([new(v, cut) for v in e.outputs])
            made.update({(v, cut): x for v, x in zip(e.outputs, outs)})
            ins = tuple([atom(a, m) for a, m in zip(e.inputs, marks)])
            eqns.append(e.replace(inputs=ins, outputs=outs, params=_resized(e, rows) if cut else e.params))
        outputs = tuple([atom(a, cut) for a, cut in zip(self.graph.outputs, self.outputs)])
        return self.graph.replace(inputs=tuple(inputs), eqns=tuple(eqns), outputs=outputs)


def by_rows(graph: Graph, n_consts: int, n_carry: int) -> ByRows | None:
    """The body of a scan by rows of its carries, the first dimension of each that has them; None where some row needs another one."""
    carries = graph.inputs[n_consts : n_consts + n_carry]
    n = max([v.aval for v in carries if v.aval.shape], key=lambda a: plain(a.size), default=None)
    rows = None if n is None else n.shape[0]
    if rows is None or plain(rows) < 2:
        return None
    carried = [_has_rows(v, rows) for v in carries]
    inputs: dict[Var, bool] = dict(zip(carries, carried))
    outputs = (*carried, *[_has_rows(a, rows) for a in graph.outputs[n_carry:]])
    if not all(outputs[n_carry:]):
        return None
    known = frozenset(graph.inputs)
    producers = {v: e for e in graph.eqns for v in e.outputs}
    wanted: dict[tuple[int, bool], Eqn] = {}
    todo: list[tuple[Atom, bool]] = list(zip(graph.outputs, outputs))
    while todo:
        a, cut = todo.pop()
        if isinstance(a, Literal):
            if cut:
                return None
        elif a in known:
            if inputs.setdefault(a, cut) is not cut or (cut and not _has_rows(a, rows)):
                return None
        else:
            e = producers[a]
            if (id(e), cut) in wanted:
                continue
            wanted[id(e), cut] = e
            marks = _wanted(e, rows, cut)
            if marks is None:
                return None
            todo += zip(e.inputs, marks)
    eqns = tuple([(e, cut) for e in graph.eqns for cut in (False, True) if (id(e), cut) in wanted])
    kept = sum(v.aval.nbytes for v in graph.inputs[: n_consts + n_carry] if inputs.get(v, False))
    return ByRows(rows, graph, tuple([inputs.get(v, False) for v in graph.inputs]), outputs, eqns, kept)


def _has_rows(a: Atom, rows: Any) -> bool:
    return bool(a.aval.shape) and alike(a.aval.shape[0], rows)


# ------------------------------------------------------------------------------- operations by rows


def _wanted(e: Eqn, rows: Any, cut: bool) -> Sequence[bool] | None:
    """Of which operands rows are needed, for rows of the results or (not ``cut``) for all of them; None if that is not so simple."""
    if e.effect:
        return None
    if not cut:
        simple = e.prim.name in POINTWISE or e.prim.name in _RULES or e.prim.name in REDUCTIONS
        return (False,) * len(e.inputs) if simple else None
    if not all(_has_rows(v, rows) for v in e.outputs):
        return None
    return _operands(e, rows)


def _operands(e: Eqn, rows: Any) -> Sequence[bool] | None:
    name = e.prim.name
    if name in POINTWISE:
        return [bool(a.aval.shape) for a in e.inputs]
    if name in REDUCTIONS:
        return None if 0 in reduced_axes(e) else (True,)
    rule = _RULES.get(name)
    return None if rule is None else rule(e, rows)


def _broadcast(e: Eqn, rows: Any) -> Sequence[bool] | None:
    if 0 not in e.params["broadcast_dimensions"]:
        return (False,)
    (x,) = e.inputs
    return (not alike(x.aval.shape[0], 1),)  # type: ignore[union-attr]


def _dot(e: Eqn, rows: Any) -> Sequence[bool] | None:
    if "permutation" in e.params:
        return None
    (a_ks, b_ks), (a_batch, b_batch) = e.params["dimension_numbers"]
    if a_batch:
        return (True, True) if a_batch[0] == 0 == b_batch[0] else None
    if len(a_ks) < len(e.inputs[0].aval.shape):  # the first of the rows of A that remain
        return (True, False) if 0 not in a_ks else None
    return (False, True) if 0 not in b_ks else None


def _keeps_first(e: Eqn, rows: Any) -> Sequence[bool] | None:
    return (True,) if _has_rows(e.inputs[0], rows) else None


def _when(holds: Callable[[Any], bool]) -> Callable[[Eqn, Any], Sequence[bool] | None]:
    return lambda e, rows: (True,) * len(e.inputs) if holds(e.params) else None


def _slices_rest(e: Eqn, rows: Any) -> Sequence[bool] | None:
    p = e.params
    whole = alike(p["start_indices"][0], 0) and (p["strides"] is None or p["strides"][0] == 1)
    return (True,) if whole and _has_rows(e.inputs[0], rows) else None


def _pads_rest(e: Eqn, rows: Any) -> Sequence[bool] | None:
    return (True, False) if all(alike(n, 0) for n in e.params["padding_config"][0]) else None


_RULES: dict[str, Callable[[Eqn, Any], Sequence[bool] | None]] = {
    **dict.fromkeys(SAME_ROWS, lambda e, rows: (True,) * len(e.inputs)),
    "broadcast_in_dim": _broadcast,
    "concatenate": _when(lambda p: p["dimension"] != 0),
    "dot_general": _dot,
    "expand_dims": _keeps_first,
    "iota": _when(lambda p: p["dimension"] != 0),
    "pad": _pads_rest,
    "reshape": _keeps_first,
    "rev": _when(lambda p: 0 not in p["dimensions"]),
    "slice": _slices_rest,
    "squeeze": _keeps_first,
    "transpose": _when(lambda p: p["permutation"][0] == 0),
}


def _resized(e: Eqn, rows: int) -> dict[str, Any]:
    """The parameters for so many rows."""
    p = dict(e.params)
    for key in {
        "broadcast_in_dim": ("shape",),
        "iota": ("shape",),
        "reshape": ("new_sizes",),
        "slice": ("limit_indices",),
    }.get(e.prim.name, ()):
        p[key] = (rows, *p[key][1:])
    return p


# ----------------------------------------------------------------------------------- blocks of rows


def block_rows(host: Host, loop: ByRows, length: int) -> int | None:
    """How many rows a block has, or None where blocks are no gain: too little work for two of them, or so much in an iteration that
    threads meet seldom, or so many weights that a few rows are not worth reading them."""
    cut = [e for e, by_row in loop.eqns if by_row]
    products = [e for e in cut if e.prim.name == "dot_general"]
    arrays = zip((*loop.graph.inputs, *loop.graph.outputs), (*loop.inputs, *loop.outputs))
    avals = [v.aval for v, by_row in arrays if by_row]
    ns = sum(map(_nanoseconds, cut)) + sum(a.nbytes for a in avals) / CACHED_BYTES_PER_NS
    repeated = sum(_nanoseconds(e) for e, by_row in loop.eqns if not by_row)
    if ns < 2 * LEAST_NS or ns * length < 2 * PIECE_NS or REPEATED * repeated > ns:
        return None
    if not products:
        row = min(a.nbytes for a in avals) // loop.n
        align = LINE // math.gcd(int(plain(row)), LINE) if plain(row) else 1
        kept = loop.kept_bytes
        rows = late(_block, loop.n, ns, STEP_NS, align, align, kept, host.l2_bytes // 2)
    elif ns > LONG_STEP_NS:
        return None
    else:
        weights = sum(
            a.aval.nbytes for e in products for a, by_row in zip(e.inputs, _operands(e, loop.n) or ()) if not by_row
        )
        fewest = WEIGHTY_ROWS if weights > host.l1_bytes else ROWS
        rows = late(_block, loop.n, ns, PRODUCT_STEP_NS, fewest, 1, 0, 1)
    return None if not is_sized(rows) and rows >= loop.n else rows


def _block(n: int, ns: float, step_ns: float, fewest: int, align: int, kept: int, held: int) -> int:
    """Rows of a block, whole multiples of ``align``: of an even number of blocks, if there are some, each of which takes ``step_ns`` of
    an iteration's ``ns``, and keeps no more than the caches hold (or there are only two).

    fewest: rows; kept: bytes that all rows keep from one iteration to the next; held: of these, in the caches.
    """
    pieces = max(2, min(PIECES, int(ns // step_ns)), -(-kept // held))
    pieces = min(pieces, n // fewest)
    if pieces < 2:
        return n
    pieces -= pieces % (2 if pieces < 8 else 4)
    rows = -(-n // pieces)
    return min(n, -(-rows // align) * align)


def _nanoseconds(e: Eqn) -> Any:
    """About the time of all rows, out of the caches."""
    if e.prim.name == "dot_general":
        (ks, _), _ = e.params["dimension_numbers"]
        return 2 * e.outputs[0].aval.size * math.prod(e.inputs[0].aval.shape[d] for d in ks) / FLOPS_PER_NS
    return sum(v.aval.size for v in e.outputs) * flops_per_element(e) / ADDITIONS_PER_NS
