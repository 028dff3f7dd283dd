"""Pruning: what loops and conditionals compute or carry along, and nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..ir import Atom, Aval, Eqn, Graph, Literal, Var
from ..primitive import primitive
from .dce import needed
from .dependence import live_variables
from .rewrite import Substitution, split, with_subgraphs

__all__ = ["prune", "restrict"]

Pruned = tuple[list[Eqn], dict[Var, Atom]]


def prune(g: Graph) -> Graph:
    """Dead code elimination that goes into control flow.

    Results, ys, carries and operands of scan, while and cond that nobody reads disappear, with what computes them;
    carries are followed around the loop.  A carry that the body returns as it came is a constant of the loop; a y that
    is an x or a constant, or a result that all branches return alike, is taken from where it is.  Effects stay.
    """
    live = {a for a in g.outputs if type(a) is Var}
    kept: list[Eqn] = []  # last one first
    forwarded: dict[Var, Atom] = {}
    for e in reversed(g.eqns):
        if not e.effect and not any(v in live for v in e.outputs):
            continue
        eqns, moved = restrict(e, [v in live for v in e.outputs])
        forwarded.update(moved)
        live.update(a for a in moved.values() if type(a) is Var)
        for new in reversed(eqns):
            kept.append(with_subgraphs(new, prune) if new.prim.name not in _RULES else new)
            live.update(a for a in new.inputs if type(a) is Var)
    if not forwarded:
        return g.replace(eqns=tuple(reversed(kept)))
    sub = Substitution()
    for v, a in forwarded.items():
        while type(a) is Var and a in forwarded:
            a = forwarded[a]
        sub.map[v] = a
    return sub.finish(g, [sub.apply(e) for e in reversed(kept)])


def restrict(e: Eqn, used: Sequence[bool]) -> Pruned:
    """The equation reduced to the outputs that are used: equations that compute them, and atoms that stand for some.

    Only equations that hold graphs are changed; the others are returned as they are.
    """
    rule = _RULES.get(e.prim.name)
    if rule is None:
        return [e], {}
    eqns, elsewhere = rule(e, used)
    return eqns, {v: elsewhere[v] for v, u in zip(e.outputs, used) if u and v in elsewhere}


def _merged(pairs: Sequence[tuple[Var, Atom]], sub: Substitution) -> list[tuple[Var, Var]]:
    """The inputs of a graph, with their operands, that are needed once literals and operands given twice are written
    into the graph (in ``sub``)."""
    first: dict[Var, Var] = {}
    for v, a in pairs:
        if type(a) is Var:
            sub.map[v] = first.setdefault(a, v)
        else:
            sub.map[v] = a
    return [(v, a) for a, v in first.items()]


def _around(
    eqns: Sequence[Eqn], carried: Sequence[tuple[Var, Atom]], wanted: list[bool], others: Sequence[Atom]
) -> list[bool]:
    """Which carries a loop needs, given what its body returns for each and which results are wanted."""
    while True:
        outputs = [o for (_, o), w in zip(carried, wanted) if w]
        live = live_variables(eqns, [*outputs, *others])
        grown = [w or v in live for (v, _), w in zip(carried, wanted)]
        if grown == wanted:
            return wanted
        wanted = grown


def _reduced(g: Graph, sub: Substitution, inputs: Sequence[Var], outputs: Sequence[Atom]) -> tuple[Graph, set[Var]]:
    """The pruned graph of those outputs, and which variables it reads."""
    out = prune(
        g.replace(
            inputs=tuple(inputs), eqns=tuple([sub.apply(e) for e in g.eqns]), outputs=tuple(outputs), input_names=None
        )
    )
    return out, needed(out.eqns, out.outputs)[1]


def _repeated(a: Atom, length: int, v: Var) -> Eqn:
    params = {"shape": (length, *a.aval.shape), "broadcast_dimensions": tuple(range(1, a.aval.ndim + 1))}
    return Eqn(primitive("broadcast_in_dim"), (a,), params, (v,))


def _empty(v: Var) -> Eqn:
    zero = Literal(0, Aval((), v.aval.dtype))
    return Eqn(primitive("broadcast_in_dim"), (zero,), {"shape": v.aval.shape, "broadcast_dimensions": ()}, (v,))


def _prune_scan(e: Eqn, used: Sequence[bool]) -> Pruned:
    g, length, n_carry = e.params["graph"], e.params["length"], e.params["n_carry"]
    v_consts, v_carry, v_xs = split(g.inputs, e.params["n_consts"], n_carry)
    consts, first, xs = split(e.inputs, e.params["n_consts"], n_carry)
    if length == 0:
        empty = [_empty(v) for v, u in zip(e.outputs[n_carry:], used[n_carry:]) if u]
        return empty, dict(zip(e.outputs, first))
    fixed = [o is v for o, v in zip(g.outputs, v_carry)]
    sub = Substitution()
    pairs = _merged([*zip(v_consts, consts), *((v, a) for v, a, f in zip(v_carry, first, fixed) if f)], sub)
    x_pairs = _merged(list(zip(v_xs, xs)), sub)
    forwarded: dict[Var, Atom] = {v: a for v, a, f in zip(e.outputs, first, fixed) if f}

    outside, slices = dict(pairs), dict(x_pairs)
    more: list[Eqn] = []
    ys: dict[Any, Var] = {}  # what the body returns, and the output of the equation that it is stacked in
    for v, a, wanted in zip(e.outputs[n_carry:], sub.atoms(g.outputs[n_carry:]), used[n_carry:]):
        if not wanted:
            continue
        if type(a) is not Var:
            more.append(_repeated(a, length, v))
        elif a in outside:
            more.append(_repeated(outside[a], length, v))
        elif a in slices:
            forwarded[v] = slices[a]
        elif a in ys:
            forwarded[v] = ys[a]
        else:
            ys[a] = v
    loop = [i for i, f in enumerate(fixed) if not f]
    after = sub.atoms(g.outputs[:n_carry])
    eqns = [sub.apply(x) for x in g.eqns]
    keep = _around(eqns, [(v_carry[i], after[i]) for i in loop], [used[i] for i in loop], list(ys))
    loop = [i for i, k in zip(loop, keep) if k]
    body, live = _reduced(g, sub, g.inputs, [*(after[i] for i in loop), *ys])
    pairs, x_pairs = [[(v, a) for v, a in part if v in live] for part in (pairs, x_pairs)]
    if not loop and not ys and not body.effects:
        return more, forwarded
    body = body.replace(inputs=(*(v for v, _ in pairs), *(v_carry[i] for i in loop), *(v for v, _ in x_pairs)))
    scan = e.replace(
        inputs=(*(a for _, a in pairs), *(first[i] for i in loop), *(a for _, a in x_pairs)),
        params={**e.params, "graph": body, "n_consts": len(pairs), "n_carry": len(loop)},
        outputs=(*(e.outputs[i] for i in loop), *ys.values()),
    )
    return [scan, *more], forwarded


def _prune_while(e: Eqn, used: Sequence[bool]) -> Pruned:
    cond, body, n, m = (e.params[k] for k in ("cond", "body", "n_cond_consts", "n_body_consts"))
    cond_consts, body_consts, first = split(e.inputs, n, m)
    c_carry, b_carry = cond.inputs[n:], body.inputs[m:]
    fixed = [o is v for o, v in zip(body.outputs, b_carry)]
    c_sub, b_sub = Substitution(), Substitution()
    c_pairs = _merged([*zip(cond.inputs, cond_consts), *((v, a) for v, a, f in zip(c_carry, first, fixed) if f)], c_sub)
    b_pairs = _merged([*zip(body.inputs, body_consts), *((v, a) for v, a, f in zip(b_carry, first, fixed) if f)], b_sub)
    new_cond, c_live = _reduced(cond, c_sub, cond.inputs, c_sub.atoms(cond.outputs))
    forwarded: dict[Var, Atom] = {v: a for v, a, f in zip(e.outputs, first, fixed) if f}
    loop = [i for i, f in enumerate(fixed) if not f]
    if not e.effect and not any(used[i] for i in loop):
        return [], forwarded
    after = b_sub.atoms(body.outputs)
    wanted = [used[i] or c_carry[i] in c_live for i in loop]
    keep = _around([b_sub.apply(x) for x in body.eqns], [(b_carry[i], after[i]) for i in loop], wanted, [])
    loop = [i for i, k in zip(loop, keep) if k]
    new_body, b_live = _reduced(body, b_sub, body.inputs, [after[i] for i in loop])
    c_pairs, b_pairs = [(v, a) for v, a in c_pairs if v in c_live], [(v, a) for v, a in b_pairs if v in b_live]
    params = {
        **e.params,
        "cond": new_cond.replace(inputs=(*(v for v, _ in c_pairs), *(c_carry[i] for i in loop))),
        "body": new_body.replace(inputs=(*(v for v, _ in b_pairs), *(b_carry[i] for i in loop))),
        "n_cond_consts": len(c_pairs),
        "n_body_consts": len(b_pairs),
    }
    inputs = (*(a for _, a in c_pairs), *(a for _, a in b_pairs), *(first[i] for i in loop))
    loop_eqn = e.replace(inputs=inputs, params=params, outputs=tuple(e.outputs[i] for i in loop))
    return [loop_eqn], forwarded


def _prune_cond(e: Eqn, used: Sequence[bool]) -> Pruned:
    branches, operands = e.params["branches"], e.inputs[1:]
    subs = [Substitution() for _ in branches]
    for b, sub in zip(branches, subs):
        _merged(list(zip(b.inputs, operands)), sub)
    results = [sub.atoms(b.outputs) for b, sub in zip(branches, subs)]
    outside = [dict(zip(b.inputs, operands)) for b in branches]
    forwarded: dict[Var, Atom] = {}
    keep = []
    for k, v in enumerate(e.outputs):
        alike = [_from_outside(names, r[k]) for names, r in zip(outside, results)]
        if not used[k]:
            continue
        if alike[0] is not None and all(_same(a, alike[0]) for a in alike):
            forwarded[v] = alike[0]
        else:
            keep.append(k)
    reduced = [_reduced(b, sub, b.inputs, [r[k] for k in keep]) for b, sub, r in zip(branches, subs, results)]
    if not keep and not any(g.effects for g, _ in reduced):
        return [], forwarded
    read = [i for i in range(len(operands)) if any(g.inputs[i] in live for g, live in reduced)]
    new = tuple([g.replace(inputs=tuple([g.inputs[i] for i in read])) for g, _ in reduced])
    outputs = tuple([e.outputs[k] for k in keep])
    return [
        e.replace(inputs=(e.inputs[0], *(operands[i] for i in read)), params={"branches": new}, outputs=outputs)
    ], forwarded


def _from_outside(outside: Mapping[Var, Atom], a: Atom) -> Atom | None:
    """What a branch returns as an atom of the surrounding graph, if it is one.  ``outside``: what its inputs are there."""
    return a if type(a) is Literal else outside.get(a)  # type: ignore[arg-type]


def _same(a: Atom | None, b: Atom | None) -> bool:
    if type(a) is Literal and type(b) is Literal:
        return a.aval.same_type(b.aval) and a.bits == b.bits
    return a is b


def _prune_call(e: Eqn, used: Sequence[bool]) -> Pruned:
    g = e.params["graph"]
    body, live = _reduced(g, Substitution(), g.inputs, [a for a, u in zip(g.outputs, used) if u])
    read = [i for i, v in enumerate(g.inputs) if v in live]
    body = body.replace(inputs=tuple([g.inputs[i] for i in read]))
    outputs = tuple([v for v, u in zip(e.outputs, used) if u])
    return [
        e.replace(inputs=tuple([e.inputs[i] for i in read]), params={**e.params, "graph": body}, outputs=outputs)
    ], {}


_RULES: dict[str, Callable[[Eqn, Sequence[bool]], Pruned]] = {
    "scan": _prune_scan,
    "while": _prune_while,
    "cond": _prune_cond,
    "jit": _prune_call,
    "checkpoint": _prune_call,
}
