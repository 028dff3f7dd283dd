"""Derivatives and batched form of ``scan``.

Forward mode is one scan over (carry, tangent).  Linearized, it is a forward scan, which stacks what the tangent needs of
every iteration (its *residuals*), and a linear scan.  Transposed, that one runs in the other direction: cotangents of the
carry are carried back, those of xs are stacked, those of consts add up in the carry.

What need not be kept for every iteration is not: residuals that depend on consts alone are computed once, in front of
the loops; an x or y is not stacked a second time; what a few additions and products make of other residuals is computed
again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import Atom, Eqn, Graph, Literal, Var
from ..passes.dce import dce
from ..passes.dependence import depending
from ..passes.prune import prune
from ..passes.rewrite import split
from ..primitive import Linear, Primitive
from ..primitives.control_flow import scan_p
from ..primitives.elementwise import add_p
from ..primitives.helpers import align_batch, instantiate, move_batch, zeros_like
from ..trace import aval_of, bind, eval_graph, state, trace_flat
from .calls import ClosedLinear, batch_closed, jvp_closed, linearize_closed, transpose_closed
from .jvp import are_linear

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
    t_consts, t_carry, t_xs = split([t is not None for t in tangents], n_consts, n_carry)
    no_ys = (False,) * (len(graph.outputs) - n_carry)

    def step(carry: tuple[bool, ...]) -> tuple[Any, Sequence[bool]]:
        lin = linearize_closed(graph, (*t_consts, *carry, *t_xs), (*carry, *no_ys))
        return lin, lin.nonzero[:n_carry]

    lin, moved = fixpoint(t_carry, step)
    plan = _place_residuals(lin, len(graph.inputs), n_consts, n_carry)
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


@dataclass(frozen=True)
class _Residuals:
    """forward: the primal body with the values that must be stacked as further ys.
    invariant: (consts, captures) -> values that are the same in every iteration.
    inputs: the inputs of the linear body besides the tangents.
    places: for each of these where its value is: ("const" | "x" | "y", position), ("value", value), or ("once", None),
        the next output of ``invariant``.
    rebuilt: equations that make the residuals of the linear body of these inputs.
    """

    forward: Graph
    invariant: Graph
    inputs: tuple[Var, ...]
    places: tuple[tuple[str, Any], ...]
    rebuilt: tuple[Eqn, ...]


def _place_residuals(lin: ClosedLinear, n_inputs: int, n_consts: int, n_carry: int) -> _Residuals:
    return _Placing(lin, n_inputs, n_consts, n_carry).result()


_SHAPING = frozenset(("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose"))
_CHEAP = frozenset(
    "add sub mul neg square integer_pow max min abs sign select_n eq ne lt le gt ge and or not convert_element_type".split()
)
_MOST_CHEAP = 4  # operations by which a residual is computed again from others, rather than stacked


class _Placing:
    """Where the residuals of a linearized body come from, with as little as possible stacked."""

    def __init__(self, lin: ClosedLinear, n_inputs: int, n_consts: int, n_carry: int) -> None:
        self.lin, self.graph = lin, lin.primal
        self.consts, self.carry, rest = split(self.graph.inputs, n_consts, n_carry)
        n_xs = n_inputs - n_consts - n_carry
        self.xs, self.captured = rest[:n_xs], rest[n_xs:]
        self.fixed, self.fixed_eqns = _invariant(self.graph, [*self.consts, *self.captured])
        self.outputs: list[Atom] = list(self.graph.outputs[: len(lin.nonzero)])  # what is stacked besides follows
        self.position = {
            v: i - n_carry for i, v in reversed(list(enumerate(self.outputs))) if i >= n_carry and type(v) is Var
        }
        self.producers = {v: e for e in self.graph.eqns for v in e.outputs}
        self.there = {*self.consts, *self.xs}
        self.once: list[Atom] = []
        self.inputs: list[Var] = []
        self.places: list[tuple[str, Any]] = []
        self.rebuilt: list[Eqn] = []
        self.again: dict[Var, Var] = {}  # what is computed again, or read for that, in the linear body

    def result(self) -> _Residuals:
        g, lin = self.graph, self.lin
        found: list[tuple[Var, Atom, list[Eqn]]] = []
        for r, (kind, at) in zip(lin.linear.inputs[len(lin.linear.inputs) - len(lin.residuals) :], lin.residuals):
            if kind == "const":
                self.inputs.append(r)
                self.places.append(("value", at))
            else:
                a = g.inputs[at] if kind == "in" else g.outputs[at]
                found.append((r, *_made_of(a, self.producers, self.there | self.position.keys())))
        self.kept = {v for _, v, _ in found if type(v) is Var}
        for e in reversed(g.eqns):  # those that come last are made of others
            for v in e.outputs:
                if v in self.kept and v not in self.position and self._cost(v, itself=True) <= _MOST_CHEAP:
                    self.kept.remove(v)
        for r, v, shaping in found:
            self._place(r, v, shaping)
        inputs = (*self.consts, *self.captured, *self.carry, *self.xs)
        forward = dce(g.replace(inputs=inputs, outputs=tuple(self.outputs), input_names=None))
        invariant = dce(Graph((*self.consts, *self.captured), tuple(self.fixed_eqns), tuple(self.once), g.name))
        return _Residuals(forward, invariant, tuple(self.inputs), tuple(self.places), tuple(self.rebuilt))

    def _has(self, v: Var) -> bool:
        """Whether the linear body can read the value without anything more being stacked."""
        return v in self.there or v in self.fixed or v in self.position or v in self.kept

    def _cost(self, a: Atom, itself: bool = False) -> int:
        """Cheap operations that compute a value from what the linear body can read; many if it cannot be done.

        itself: the value itself cannot be read.
        """
        if isinstance(a, Literal) or (not itself and self._has(a)):
            return 0
        e = self.producers.get(a)
        if e is None or e.effect or e.prim.name not in _CHEAP | _SHAPING:
            return _MOST_CHEAP + 1
        total = int(e.prim.name in _CHEAP)
        for x in e.inputs:
            total += self._cost(x)
            if total > _MOST_CHEAP:
                break
        return total

    def _place(self, r: Var, v: Atom, shaping: Sequence[Eqn]) -> None:
        """Makes the residual ``r`` of the linear body: the value ``v``, shaped."""
        start: Atom = v if isinstance(v, Literal) else r if not shaping else Var(v.aval)
        if isinstance(v, Var):
            assert isinstance(start, Var)
            if self._has(v):
                self._read(v, start)
            else:
                e = self.producers[v]
                self.rebuilt.append(e.replace(inputs=tuple([self._again(a) for a in e.inputs]), outputs=(start,)))
        self.rebuilt += _replayed(shaping, start, r)

    def _again(self, a: Atom) -> Atom:
        """A value of the primal body as one of the linear body, computed again if it cannot be read."""
        if isinstance(a, Literal) or a in self.again:
            return a if isinstance(a, Literal) else self.again[a]
        new = self.again[a] = Var(a.aval)
        if self._has(a):
            self._read(a, new)
        else:
            e = self.producers[a]
            self.rebuilt.append(e.replace(inputs=tuple([self._again(x) for x in e.inputs]), outputs=(new,)))
        return new

    def _read(self, v: Var, new: Var) -> None:
        """Makes ``new`` an input of the linear body that has the value of ``v``."""
        self.inputs.append(new)
        if v in self.there:
            self.places.append(("const", self.consts.index(v)) if v in self.consts else ("x", self.xs.index(v)))
        elif v in self.fixed:
            self.once.append(v)
            self.places.append(("once", None))
        else:
            if v not in self.position:
                self.position[v] = len(self.outputs) - len(self.carry)
                self.outputs.append(v)
            self.places.append(("y", self.position[v]))


def _made_of(a: Atom, producers: Mapping[Var, Eqn], there: Container[Var]) -> tuple[Atom, list[Eqn]]:
    """What to keep in place of a residual that is a value in another shape: the smallest form of it, or one that is there;
    and the equations that shape it."""
    shaping: list[Eqn] = []
    best, n = a, 0
    while type(a) is Var and a in producers and producers[a].prim.name in _SHAPING:
        shaping.append(producers[a])
        a = producers[a].inputs[0]
        if isinstance(a, Literal) or a in there or a.aval.nbytes < best.aval.nbytes:
            best, n = a, len(shaping)
    return best, shaping[:n][::-1]


def _replayed(shaping: Sequence[Eqn], start: Atom, end: Var) -> list[Eqn]:
    """The equations once more, from ``start`` to ``end``."""
    out = []
    for k, e in enumerate(shaping):
        v = end if k == len(shaping) - 1 else Var(e.outputs[0].aval)
        out.append(e.replace(inputs=(start,), outputs=(v,)))
        start = v
    return out


def _invariant(graph: Graph, fixed_inputs: Sequence[Var]) -> tuple[set[Var], list[Eqn]]:
    """The variables that depend on those inputs alone, and the equations that compute them."""
    fixed, eqns = set(fixed_inputs), []
    for e in graph.eqns:
        if e.effect is None and all(type(a) is not Var or a in fixed for a in e.inputs):
            fixed.update(e.outputs)
            eqns.append(e)
    return fixed, eqns


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
