"""Derivatives and batched form of ``cond``.

Every transform of a conditional is a conditional on the same index, whose branches are transformed.  Linearized, the
forward one returns the residuals of every branch (zeros stand for those of the branches that did not run), and the linear
one chooses again.  A batched index makes it a choice by example between the results of all branches; what is differentiated
of a branch is what the examples that take it give it, so that one which is infinitely steep for the others leaves no NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import is_complex, is_float
from ..ir import Atom, Aval, Eqn, Graph, Literal, Var
from ..primitive import Linear
from ..primitives.control_flow import cond_p
from ..primitives.elementwise import bitwise_not, clamp, eq, gt, select, select_n, stop_gradient
from ..primitives.shaping import broadcast_in_dim, broadcast_in_dim_p
from ..trace import aval_of, bind, eval_graph, named_axes, state
from .calls import ClosedLinear, batch_closed, jvp_closed, linearize_closed, transpose_closed
from .jvp import are_linear
from .scan import loop_over_examples

__all__ = ["cond_p", "each_scalar", "for_those", "side_by_side"]

Values = Sequence[Any]
Branches = tuple[Graph, ...]


def _any(masks: Sequence[Sequence[bool]]) -> tuple[bool, ...]:
    return tuple([any(column) for column in zip(*masks)])


def side_by_side(graphs: Sequence[Graph], captures: Sequence[Values]) -> tuple[Branches, list[Any]]:
    """Graphs whose last inputs are captures of their own, as graphs of all captures; and these."""
    out = []
    for i, g in enumerate(graphs):
        n = len(g.inputs) - len(captures[i])
        own = iter(g.inputs[n:])
        more = [next(own) if j == i else Var(aval_of(c)) for j, part in enumerate(captures) for c in part]
        out.append(g.replace(inputs=(*g.inputs[:n], *more), input_names=None))
    return tuple(out), [c for part in captures for c in part]


# ------------------------------------------------------------------------------------ derivatives


@cond_p.def_jvp_call
def _cond_jvp(primals: Values, tangents: Values, *, branches: Branches) -> tuple[list[Any], list[Any]]:
    wrt = tuple(t is not None for t in tangents[1:])
    rule = _linearized if are_linear(tangents) else _joint
    return rule(primals[0], primals[1:], [t for t in tangents[1:] if t is not None], wrt, branches)


def _joint(
    index: Any, operands: Values, ts: Values, wrt: tuple[bool, ...], branches: Branches
) -> tuple[list[Any], list[Any]]:
    nonzero = _any([jvp_closed(b, wrt)[2] for b in branches])
    joint = [jvp_closed(b, wrt, nonzero) for b in branches]
    graphs, captures = side_by_side([j[0] for j in joint], [j[1] for j in joint])
    outs = bind(cond_p, index, *operands, *ts, *captures, branches=graphs)
    n = len(nonzero)
    t_outs = iter(outs[n:])
    return outs[:n], [next(t_outs) if nz else None for nz in nonzero]


def _linearized(
    index: Any, operands: Values, ts: Values, wrt: tuple[bool, ...], branches: Branches
) -> tuple[list[Any], list[Any]]:
    nonzero = _any([linearize_closed(b, wrt).nonzero for b in branches])
    lins = [linearize_closed(b, wrt, nonzero) for b in branches]
    n = len(nonzero)
    slots, where = _slots(lins, n)
    graphs, captures = side_by_side([lin.primal for lin in lins], [lin.captures for lin in lins])
    forward = tuple([_with_slots(g, n, slots, used) for g, used in zip(graphs, where)])
    outs = bind(cond_p, index, *operands, *captures, branches=forward)

    shared: dict[Any, Any] = {}  # what the linear branches read besides the tangents
    keys: list[list[Any]] = []
    for lin, used in zip(lins, where):
        keys.append([])
        for kind, at in lin.residuals:
            if kind == "const":
                key, value = ("const", id(at)), at
            elif kind == "in":
                key, value = (kind, at), operands[at]
            else:
                at = used.get(at, at)
                key, value = (kind, at), outs[at]
            shared[key] = value
            keys[-1].append(key)
    linear = []
    for lin, own_keys in zip(lins, keys):
        own = dict(zip(own_keys, lin.linear.inputs[len(ts) :]))
        linear.append(
            lin.linear.replace(
                inputs=(*lin.linear.inputs[: len(ts)], *(own.get(k) or Var(aval_of(v)) for k, v in shared.items())),
                input_names=None,
            )
        )
    t_outs = iter(bind(cond_p, index, *ts, *shared.values(), branches=tuple(linear)))
    return outs[:n], [next(t_outs) if nz else None for nz in nonzero]


def _slots(lins: Sequence[ClosedLinear], n: int) -> tuple[list[Aval], list[dict[int, int]]]:
    """Types of the residual outputs that the branches share, and for each branch {its output: its place}."""
    slots: list[Aval] = []
    where: list[dict[int, int]] = []
    for lin in lins:
        free = list(range(len(slots)))
        used: dict[int, int] = {}
        for at, atom in list(enumerate(lin.primal.outputs))[n:]:
            a = atom.aval.strong()
            k = next((i for i in free if slots[i] == a), None)
            if k is None:
                k = len(slots)
                slots.append(a)
            else:
                free.remove(k)
            used[at] = n + k
        where.append(used)
    return slots, where


def _with_slots(g: Graph, n: int, slots: Sequence[Aval], used: dict[int, int]) -> Graph:
    """The primal branch with its residuals in their slots, and zeros in the others."""
    filled = {place: g.outputs[at] for at, place in used.items()}
    eqns, outputs = list(g.eqns), list(g.outputs[:n])
    for k, a in enumerate(slots):
        atom: Atom = filled.get(n + k) or Literal(0, Aval((), a.dtype))
        if n + k not in filled and a.shape:
            v = Var(a)
            eqns.append(Eqn(broadcast_in_dim_p, (atom,), {"shape": a.shape, "broadcast_dimensions": ()}, (v,)))
            atom = v
        outputs.append(atom)
    return g.replace(eqns=tuple(eqns), outputs=tuple(outputs))


@cond_p.def_transpose
def _cond_transpose(cts: Values, inputs: Values, *, branches: Branches) -> list[Any]:
    index, operands = inputs[0], inputs[1:]
    linear = [isinstance(x, Linear) for x in operands]
    given = [c is not None for c in cts]
    nonzero = _any([transpose_closed(b, linear, given)[2] for b in branches])
    transposed = [transpose_closed(b, linear, given, nonzero) for b in branches]
    graphs, captures = side_by_side([t[0] for t in transposed], [t[1] for t in transposed])
    others = [x for x in operands if not isinstance(x, Linear)]
    outs = iter(bind(cond_p, index, *others, *(c for c in cts if c is not None), *captures, branches=graphs))
    per_linear = iter([next(outs) if nz else None for nz in nonzero])
    return [None, *(next(per_linear) if is_lin else None for is_lin in linear)]


# ------------------------------------------------------------------------------------------- vmap


@cond_p.def_batch
def _cond_batch(
    size: int, args: Values, dims: Sequence[int | None], *, branches: Branches
) -> tuple[list[Any], list[int | None]]:
    axis = state.mapped[-1]
    effects = any(b.effects for b in branches)
    if dims[0] is not None and effects and axis.name not in named_axes({"branches": branches}):
        return loop_over_examples(cond_p, size, args, dims, {"branches": branches})
    if dims[0] is None:
        batched = _any([[d is not None for d in batch_closed(b, dims[1:], axis)[2]] for b in branches])
        forms = [batch_closed(b, dims[1:], axis, batched) for b in branches]
        graphs, captures = side_by_side([f[0] for f in forms], [f[1] for f in forms])
        out_dims: list[int | None] = [0 if b else None for b in batched]
        return bind(cond_p, *args, *captures, branches=graphs), out_dims
    n = len(branches)
    which = gt(args[0], 0) if n == 2 else clamp(0, args[0], n - 1)
    batched, out_dims = (True,) * len(branches[0].outputs), [0] * len(branches[0].outputs)
    operands, operand_dims = each_scalar(size, args[1:], dims[1:])
    results = []
    for i, b in enumerate(branches):
        taken = eq(which, i) if n != 2 else which if i else bitwise_not(which)
        graph, captured, _ = batch_closed(b, operand_dims, axis, batched)
        results.append(eval_graph(graph, [*for_those(taken, operands, operand_dims), *captured]))
    return [select_n(broadcast_in_dim(which, aval_of(outs[0]).shape, (0,)), *outs) for outs in zip(*results)], out_dims


def each_scalar(size: int, args: Values, dims: Sequence[int | None]) -> tuple[list[Any], list[int | None]]:
    """Arguments whose scalars, if they have derivatives, are one for each example: see ``for_those``."""
    alone = [d is None and not aval_of(x).shape and _has_derivative(x) for x, d in zip(args, dims)]
    return (
        [broadcast_in_dim(x, (size,), ()) if a else x for x, a in zip(args, alone)],
        [0 if a else d for d, a in zip(dims, alone)],
    )


def for_those(taken: Any, args: Values, dims: Sequence[int | None]) -> list[Any]:
    """Arguments whose derivatives are those of the examples in ``taken`` alone: for the others the arguments are constants.

    They are the same numbers, so what is not differentiated costs nothing more.  Arrays that the examples share count as
    before: a derivative for each example would be that much larger.
    """
    return [
        select(broadcast_in_dim(taken, aval_of(x).shape, (d,)), x, stop_gradient(x))
        if d is not None and _has_derivative(x)
        else x
        for x, d in zip(args, dims)
    ]


def _has_derivative(x: Any) -> bool:
    dtype = aval_of(x).dtype
    return is_float(dtype) or is_complex(dtype)
