"""Derivatives and batched form of ``scan``.

Forward mode is one scan over (carry, tangent).  Linearized, it is a forward scan, which stacks what the tangent needs of
every iteration (its *residuals*), and a linear scan.  Transposed, that one runs in the other direction: cotangents of the
carry are carried back, those of xs are stacked, those of consts add up in the carry.

What is the same in every iteration is taken out before: so its transpose stands behind the transposed loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir import Eqn, Graph, Var
from ..passes.dependence import depending
from ..passes.hoist import always_same
from ..passes.prune import prune
from ..passes.rewrite import split
from ..primitive import Linear, Primitive
from ..primitives.control_flow import scan_p
from ..primitives.elementwise import add_p
from ..primitives.helpers import align_batch, instantiate, move_batch, zeros_like
from ..trace import aval_of, bind, eval_graph, state, trace_flat
from .calls import batch_closed, jvp_closed, linearize_closed, transpose_closed
from .jvp import are_linear, jvp_graph
from .scan_residuals import place_residuals

__all__ = ["captures_behind", "fixpoint", "loop_over_examples", "scan_p"]

Values = Sequence[Any]


def captures_behind(graph: Graph, n_consts: int, n_others: int) -> Graph:
    """A graph of (consts, other inputs, captures) as one of (consts, captures, other inputs)."""
    consts, others, captured = split(graph.inputs, n_consts, n_others)
    return graph.replace(inputs=(*consts, *captured, *others), input_names=None)


def _bind(graph: Graph, consts: Values, carry: Values, xs: Values, loop: dict[str, Any]) -> list[Any]:
    outs: list[Any] = bind(scan_p, *consts, *carry, *xs, graph=graph, n_consts=len(consts), n_carry=len(carry), **loop)
    return outs


def fixpoint(start: Sequence[bool], step: Callable[[tuple[bool, ...]], tuple[Any, Sequence[bool]]]) -> Any:
    """``step(marked carries) -> (result, marked carries after an iteration)``, until no more are marked."""
    marked = tuple(start)
    while True:
        result, after = step(marked)
        grown = tuple([m or a for m, a in zip(marked, after)])
        if grown == marked:
            return result, marked
        marked = grown


# ------------------------------------------------------------------------------------ derivatives


@scan_p.def_jvp_call
def _scan_jvp(
    primals: Values, tangents: Values, *, graph: Graph, n_consts: int, n_carry: int, **loop: Any
) -> tuple[list[Any], list[Any]]:
    rule = _linearized if are_linear(tangents) else _joint
    return rule(primals, tangents, graph, n_consts, n_carry, loop)


def _joint(
    primals: Values, tangents: Values, graph: Graph, n_consts: int, n_carry: int, loop: dict[str, Any]
) -> tuple[list[Any], list[Any]]:
    """One scan over primals and tangents."""
    t_consts, t_carry, t_xs = split([t is not None for t in tangents], n_consts, n_carry)
    no_ys = (False,) * (len(graph.outputs) - n_carry)

    def step(carry: tuple[bool, ...]) -> tuple[Any, Sequence[bool]]:
        result = jvp_closed(graph, (*t_consts, *carry, *t_xs), (*carry, *no_ys))
        return result, result[2][:n_carry]

    (joint, captures, nonzero), moved = fixpoint(t_carry, step)
    consts, carry, xs = split(primals, n_consts, n_carry)
    ts = split(tangents, n_consts, n_carry)
    ts[1][:] = [instantiate(t, aval_of(c).strong()) if m else None for t, c, m in zip(ts[1], carry, moved)]
    given = [[t for t in part if t is not None] for part in ts]
    ins = split(joint.inputs, n_consts, n_carry)
    xs_in, rest = ins[2][: len(xs)], iter(ins[2][len(xs) :])
    t_in = [[next(rest) for _ in part] for part in given]
    n_out, n_moved = len(graph.outputs), sum(moved)
    primal_outs, t_outs = joint.outputs[:n_out], joint.outputs[n_out:]
    joint = joint.replace(
        inputs=(*ins[0], *t_in[0], *rest, *ins[1], *t_in[1], *xs_in, *t_in[2]),
        outputs=(*primal_outs[:n_carry], *t_outs[:n_moved], *primal_outs[n_carry:], *t_outs[n_moved:]),
        input_names=None,
    )
    outs = _bind(joint, [*consts, *given[0], *captures], [*carry, *given[1]], [*xs, *given[2]], loop)
    last, t_last, ys = split(outs, n_carry, n_moved)
    n_ys = n_out - n_carry
    it = iter([*t_last, *ys[n_ys:]])
    return [*last, *ys[:n_ys]], [next(it) if nz else None for nz in nonzero]


def _linearized(
    primals: Values, tangents: Values, graph: Graph, n_consts: int, n_carry: int, loop: dict[str, Any]
) -> tuple[list[Any], list[Any]]:
    """A forward scan that keeps the residuals, and a linear scan."""
    primals, tangents, graph, n_consts = _ahead(primals, tangents, graph, n_consts, loop["length"])
    t_consts, t_carry, t_xs = split([t is not None for t in tangents], n_consts, n_carry)
    no_ys = (False,) * (len(graph.outputs) - n_carry)

    def step(carry: tuple[bool, ...]) -> tuple[Any, Sequence[bool]]:
        lin = linearize_closed(graph, (*t_consts, *carry, *t_xs), (*carry, *no_ys))
        return lin, lin.nonzero[:n_carry]

    lin, moved = fixpoint(t_carry, step)
    plan = place_residuals(lin, len(graph.inputs), n_consts, n_carry)
    consts, carry, xs = split(primals, n_consts, n_carry)
    outs = _bind(plan.forward, [*consts, *lin.captures], carry, xs, loop)
    once = iter(eval_graph(plan.invariant, [*consts, *lin.captures]))
    source = {"const": consts, "x": xs, "y": outs[n_carry:]}
    kept = [next(once) if kind == "once" else at if kind == "value" else source[kind][at] for kind, at in plan.places]
    stacked = [kind in ("x", "y") for kind, _ in plan.places]

    ts = split(tangents, n_consts, n_carry)
    ts[1][:] = [instantiate(t, aval_of(c).strong()) if m else None for t, c, m in zip(ts[1], carry, moved)]
    given = [[t for t in part if t is not None] for part in ts]
    n_given = sum(map(len, given))
    t_in, r_in = lin.linear.inputs[:n_given], plan.inputs
    t_in = split(t_in, len(given[0]), len(given[1]))
    linear = lin.linear.replace(
        inputs=(
            *t_in[0], *(r for r, s in zip(r_in, stacked) if not s), *t_in[1],
            *t_in[2], *(r for r, s in zip(r_in, stacked) if s),
        ),
        eqns=(*plan.rebuilt, *lin.linear.eqns),
        input_names=None,
    )  # fmt: skip
    t_outs = iter(
        _bind(
            linear,
            [*given[0], *(v for v, s in zip(kept, stacked) if not s)],
            given[1],
            [*given[2], *(v for v, s in zip(kept, stacked) if s)],
            loop,
        )
    )
    return outs[: len(graph.outputs)], [next(t_outs) if nz else None for nz in lin.nonzero]


def _ahead(
    primals: Values, tangents: Values, graph: Graph, n_consts: int, length: int
) -> tuple[Values, Values, Graph, int]:
    """Computes what is the same in every iteration in front of the loop, with its tangents; it becomes constants of the body.

    So its transpose stands behind the transposed loop, and is applied once, to the sum of the cotangents, not in every iteration.
    """
    if length == 0:
        return primals, tangents, graph, n_consts
    same, body = graph.memo(("always_same", n_consts), lambda: always_same(graph, n_consts))
    if same is None:
        return primals, tangents, graph, n_consts
    consts, t_consts = list(primals[:n_consts]), list(tangents[:n_consts])
    values, t_values = jvp_graph(same, consts, t_consts)
    return (
        [*consts, *values, *primals[n_consts:]],
        [*t_consts, *t_values, *tangents[n_consts:]],
        body,
        n_consts + len(values),
    )


# -------------------------------------------------------------------------------------- transpose


@scan_p.def_transpose
def _scan_transpose(
    cts: Values, inputs: Values, *, graph: Graph, n_consts: int, n_carry: int, **loop: Any
) -> list[Any]:
    l_consts, l_carry, l_xs = split([isinstance(x, Linear) for x in inputs], n_consts, n_carry)

    def step(carry: tuple[bool, ...]) -> tuple[Any, Sequence[bool]]:
        found = depending(graph, (*l_consts, *carry, *l_xs))
        return None, [type(a) is Var and a in found for a in graph.outputs[:n_carry]]

    _, linear_carry = fixpoint(l_carry, step)
    if not all(linear_carry):
        return _beside_nonlinear(cts, inputs, graph, n_consts, n_carry, linear_carry, loop)
    ct_carry, ct_ys = list(cts[:n_carry]), list(cts[n_carry:])
    linear = (*l_consts, *linear_carry, *l_xs)
    n_l_consts, n_l_xs = sum(l_consts), sum(l_xs)

    def backward(carry: tuple[bool, ...]) -> tuple[Any, Sequence[bool]]:
        force = (*(False,) * n_l_consts, *carry, *(False,) * n_l_xs)
        result = transpose_closed(graph, linear, (*carry, *(c is not None for c in ct_ys)), force)
        return result, result[2][n_l_consts : n_l_consts + n_carry]

    (transposed, captures, nonzero), given = fixpoint([c is not None for c in ct_carry], backward)
    consts, _, xs = split(inputs, n_consts, n_carry)
    res_consts = [c for c, is_lin in zip(consts, l_consts) if not is_lin]
    res_xs = [x for x, is_lin in zip(xs, l_xs) if not is_lin]
    summed = [c.aval.strong() for c, nz in zip([c for c in consts if isinstance(c, Linear)], nonzero) if nz]
    first = [instantiate(c, aval.strong()) for c, aval, g in zip(ct_carry, graph.out_avals, given) if g]
    body = _accumulating(transposed, len(res_consts), len(res_xs), sum(given), len(ct_ys) - ct_ys.count(None), summed)
    outs = _bind(
        body,
        [*res_consts, *captures],
        [*first, *(zeros_like(a) for a in summed)],
        [*res_xs, *(c for c in ct_ys if c is not None)],
        {**loop, "reverse": not loop["reverse"]},
    )
    last, sums, stacked = split(outs, len(first), len(summed))
    marks = split(nonzero, n_l_consts, n_carry)
    found = [iter(sums), iter(last), iter(stacked)]
    per_linear = iter([next(it) if nz else None for it, part in zip(found, marks) for nz in part])
    everything = [next(per_linear) if is_lin else None for is_lin in linear]
    return [ct if isinstance(x, Linear) else None for ct, x in zip(everything, inputs)]


def _accumulating(g: Graph, n_consts: int, n_xs: int, n_carry: int, n_ys: int, summed: Sequence[Any]) -> Graph:
    """The transposed body (consts, xs, cotangents of carry and ys, captures) -> cotangents of (consts, carry, xs), as the
    body of a scan in which those of the consts add up."""
    ins = list(g.inputs)
    consts, xs = ins[:n_consts], ins[n_consts : n_consts + n_xs]
    ct_carry, ct_ys, captured = split(ins[n_consts + n_xs :], n_carry, n_ys)
    to_consts, to_carry, to_xs = split(g.outputs, len(summed), n_carry)
    sums = [Var(a) for a in summed]
    totals = [Var(a) for a in summed]
    additions = [Eqn(add_p, (s, c), {}, (t,)) for s, c, t in zip(sums, to_consts, totals)]
    return g.replace(
        inputs=(*consts, *captured, *ct_carry, *sums, *xs, *ct_ys),
        eqns=(*g.eqns, *additions),
        outputs=(*to_carry, *totals, *to_xs),
        input_names=None,
    )


def _beside_nonlinear(
    cts: Values,
    inputs: Values,
    graph: Graph,
    n_consts: int,
    n_carry: int,
    linear_carry: Sequence[bool],
    loop: dict[str, Any],
) -> list[Any]:
    """Where some carries are not linear (a counter), they are computed first, and become xs of the loop over the others."""
    consts, carry, xs = split(inputs, n_consts, n_carry)
    v_consts, v_carry, v_xs = split(graph.inputs, n_consts, n_carry)
    plain = [(v, c) for v, c, is_lin in zip(v_carry, carry, linear_carry) if not is_lin]
    known = [
        [(v, x) for v, x in zip(vs, part) if not isinstance(x, Linear)] for vs, part in ((v_consts, consts), (v_xs, xs))
    ]
    after = [a for a, is_lin in zip(graph.outputs, linear_carry) if not is_lin]
    ahead = Graph(
        tuple(v for v, _ in (*known[0], *plain, *known[1])),
        graph.eqns,
        (*after, *(v for v, _ in plain)),
        graph.name,
    )
    outs = _bind(prune(ahead), [c for _, c in known[0]], [c for _, c in plain], [x for _, x in known[1]], loop)
    kept = [v for v, is_lin in zip(v_carry, linear_carry) if is_lin]
    body = graph.replace(
        inputs=(*v_consts, *kept, *v_xs, *(v for v, _ in plain)),
        outputs=(*(a for a, is_lin in zip(graph.outputs, linear_carry) if is_lin), *graph.outputs[n_carry:]),
        input_names=None,
    )
    own = [c for c, is_lin in zip(carry, linear_carry) if is_lin]
    own_cts = [c for c, is_lin in zip(cts, linear_carry) if is_lin]
    result = _scan_transpose(
        [*own_cts, *cts[n_carry:]], [*consts, *own, *xs, *outs[len(plain) :]],
        graph=body, n_consts=n_consts, n_carry=len(own), **loop,
    )  # fmt: skip
    to_consts, to_carry, to_xs = split(result, n_consts, len(own))
    it = iter(to_carry)
    return [*to_consts, *(next(it) if is_lin else None for is_lin in linear_carry), *to_xs[: len(xs)]]


# ------------------------------------------------------------------------------------------- vmap


@scan_p.def_batch
def _scan_batch(
    size: int, args: Values, dims: Sequence[int | None], *, graph: Graph, n_consts: int, n_carry: int, **loop: Any
) -> tuple[list[Any], list[int | None]]:
    consts, carry, xs = split(args, n_consts, n_carry)
    d_consts, d_carry, d_xs = split(dims, n_consts, n_carry)
    xs = [move_batch(x, 0, 1) if d == 0 else x for x, d in zip(xs, d_xs)]  # axis 0 is the loop's
    d_slices = [None if d is None else max(d - 1, 0) for d in d_xs]
    no_ys = (False,) * (len(graph.outputs) - n_carry)

    def step(batched: tuple[bool, ...]) -> tuple[Any, Sequence[bool]]:
        d_in = (*d_consts, *(0 if b else None for b in batched), *d_slices)
        result = batch_closed(graph, d_in, state.mapped[-1], (*batched, *no_ys))
        return result, [d is not None for d in result[2][:n_carry]]

    (body, captures, d_out), batched = fixpoint([d is not None for d in d_carry], step)
    first = [align_batch(size, [c], [d])[0] if b else c for c, d, b in zip(carry, d_carry, batched)]
    body = captures_behind(body, n_consts, n_carry + len(xs))
    outs = _bind(body, [*consts, *captures], first, xs, loop)
    return outs, [*d_out[:n_carry], *(None if d is None else d + 1 for d in d_out[n_carry:])]


def loop_over_examples(
    prim: Primitive, size: int, args: Values, dims: Sequence[int | None], params: dict[str, Any]
) -> tuple[list[Any], list[int | None]]:
    """The batched form of an operation with side effects that depend on a predicate: one example after the other."""
    batched = [d is not None for d in dims]
    consts = [a for a, b in zip(args, batched) if not b]
    xs = [move_batch(a, d, 0) for a, d in zip(args, dims) if d is not None]
    avals = [aval_of(c) for c in consts] + [a.with_(shape=a.shape[1:]) for a in (aval_of(x) for x in xs)]

    def f(*values: Any) -> list[Any]:
        own, slices = iter(values[: len(consts)]), iter(values[len(consts) :])
        outs: list[Any] = bind(prim, *[next(slices) if b else next(own) for b in batched], **params)
        return outs

    graph, captures = trace_flat(f, avals, kind="vmap", name=prim.name)
    graph = captures_behind(graph, len(consts), len(xs))
    outs = _bind(graph, [*consts, *captures], [], xs, {"length": size, "reverse": False, "unroll": 1})
    return outs, [0] * len(outs)
