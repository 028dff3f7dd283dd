"""Which values depend on which, forwards and backwards: through the graphs that equations hold, output by output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..ir import Atom, Eqn, Graph, Var, subgraphs
from .rewrite import split

__all__ = ["dependent_outputs", "depending", "live_variables"]


def depending(graph: Graph, marked: Sequence[bool]) -> set[Var]:
    """The variables of a graph that depend on the inputs that are marked."""
    found = {v for v, m in zip(graph.inputs, marked, strict=True) if m}
    for e in graph.eqns:
        reads = [type(a) is Var and a in found for a in e.inputs]
        if any(reads):
            found.update(v for v, d in zip(e.outputs, dependent_outputs(e, reads)) if d)
    return found


def _through(graph: Graph, marked: Sequence[bool]) -> list[bool]:
    found = depending(graph, marked)
    return [type(a) is Var and a in found for a in graph.outputs]


def dependent_outputs(e: Eqn, marked: Sequence[bool]) -> list[bool]:
    """The outputs of an equation that depend on the operands that are marked."""
    rule = _RULES.get(e.prim.name) if len(e.outputs) > 1 and subgraphs(e.params) else None
    return rule(e, marked) if rule is not None else [any(marked)] * len(e.outputs)


def _of_call(e: Eqn, marked: Sequence[bool]) -> list[bool]:
    return _through(e.params["graph"], marked)


def _of_cond(e: Eqn, marked: Sequence[bool]) -> list[bool]:
    per_branch = [_through(b, marked[1:]) for b in e.params["branches"]]
    return [marked[0] or any(column) for column in zip(*per_branch)]


def _of_scan(e: Eqn, marked: Sequence[bool]) -> list[bool]:
    consts, carry, xs = split(marked, e.params["n_consts"], e.params["n_carry"])
    while True:
        outs = _through(e.params["graph"], [*consts, *carry, *xs])
        grown = [c or o for c, o in zip(carry, outs)]
        if grown == carry:
            return [*carry, *outs[len(carry) :]]
        carry = grown


def _of_while(e: Eqn, marked: Sequence[bool]) -> list[bool]:
    cond_consts, consts, carry = split(marked, e.params["n_cond_consts"], e.params["n_body_consts"])
    while True:
        if any(_through(e.params["cond"], [*cond_consts, *carry])):
            return [True] * len(carry)
        grown = [c or o for c, o in zip(carry, _through(e.params["body"], [*consts, *carry]))]
        if grown == carry:
            return carry
        carry = grown


# --------------------------------------------------------------------------------------- backwards


def live_variables(eqns: Sequence[Eqn], outputs: Iterable[Atom]) -> set[Var]:
    """The variables that the outputs depend on, or an effect."""
    live = {a for a in outputs if type(a) is Var}
    for e in reversed(eqns):
        used = [v in live for v in e.outputs]
        if e.effect or any(used):
            live.update(a for a, n in zip(e.inputs, _needed_operands(e, used)) if n and type(a) is Var)
    return live


def _needed_operands(e: Eqn, used: Sequence[bool]) -> Sequence[bool]:
    rule = _NEEDED.get(e.prim.name)
    return rule(e, used) if rule is not None else (True,) * len(e.inputs)


def _inputs_of(graph: Graph, used: Sequence[bool]) -> list[bool]:
    live = live_variables(graph.eqns, [a for a, u in zip(graph.outputs, used) if u])
    return [v in live for v in graph.inputs]


def _by_call(e: Eqn, used: Sequence[bool]) -> list[bool]:
    return _inputs_of(e.params["graph"], used)


def _by_cond(e: Eqn, used: Sequence[bool]) -> list[bool]:
    return [True, *map(any, zip(*[_inputs_of(b, used) for b in e.params["branches"]]))]


def _by_scan(e: Eqn, used: Sequence[bool]) -> list[bool]:
    n, m = e.params["n_consts"], e.params["n_carry"]
    wanted, ys = list(used[:m]), used[m:]
    while True:
        consts, carry, xs = split(_inputs_of(e.params["graph"], [*wanted, *ys]), n, m)
        grown = [w or c for w, c in zip(wanted, carry)]
        if grown == wanted:
            return [*consts, *wanted, *xs]
        wanted = grown


def _by_while(e: Eqn, used: Sequence[bool]) -> list[bool]:
    n, m = e.params["n_cond_consts"], e.params["n_body_consts"]
    of_cond = _inputs_of(e.params["cond"], [True])
    wanted = [u or c for u, c in zip(used, of_cond[n:])]
    while True:
        needed = _inputs_of(e.params["body"], wanted)
        grown = [w or c for w, c in zip(wanted, needed[m:])]
        if grown == wanted:
            return [*of_cond[:n], *needed[:m], *wanted]
        wanted = grown


_NEEDED: dict[str, Callable[[Eqn, Sequence[bool]], list[bool]]] = {
    "jit": _by_call,
    "checkpoint": _by_call,
    "cond": _by_cond,
    "scan": _by_scan,
    "while": _by_while,
}

_RULES: dict[str, Callable[[Eqn, Sequence[bool]], list[bool]]] = {
    "jit": _of_call,
    "checkpoint": _of_call,
    "cond": _of_cond,
    "scan": _of_scan,
    "while": _of_while,
}
