"""Hoisting: work that a loop need not repeat moves in front of it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from ..ir import Atom, Eqn, Graph, Var, subgraphs
from ..primitives.helpers import move_batch
from ..trace import bind, read, source_override, trace_flat
from .dce import needed
from .rewrite import copied, split, with_subgraphs

__all__ = ["always_same", "hoist"]

# Cheaper to do again where the result is read (fused into what reads it) than to keep in memory.
CHEAP = frozenset(
    "neg add sub mul div real imag conj complex sign abs floor ceil round is_finite nextafter square sqrt rsqrt integer_pow"
    " max min rem eq ne lt le gt ge not and or xor shift_left shift_right_logical shift_right_arithmetic population_count clz"
    " select_n clamp convert_element_type bitcast_convert_type copy stop_gradient optimization_barrier name reshape transpose"
    " broadcast_in_dim concatenate pad slice rev squeeze expand_dims iota dynamic_slice".split()
)
# Element by element like the cheap ones, but not to be done twice.
COSTLY = frozenset(
    "cbrt pow exp exp2 expm1 log log1p log2 logistic sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh atan2 erf erfc"
    " erf_inv lgamma digamma gcd".split()
)
MAY_FAIL = frozenset(("pure_callback", "while"))  # or never end: not done unless the loop does it
PRODUCTS = frozenset(("dot_general", "conv_general_dilated"))
LEAST_TERMS = 8  # of a product: with fewer the work is not worth the memory that its results take
MOST_BYTES = 1 << 26  # of all results of a product, unless they take no more than MOST_GROWTH times its operand
MOST_GROWTH = 4


def hoist(g: Graph) -> Graph:
    """Moves what is the same in every iteration of a scan or while in front of the loop; inner loops first.

    What moves must be worth the memory that it takes from then on: no mere shaping and no cheap arithmetic on arrays,
    unless it serves something that is.  Effects stay, and of a ``while``, which may run no iteration at all, anything that
    could fail.

    Of a scan, products of a slice with a matrix (or kernel) that is the same in every iteration move as well, with the
    operations by element on the slice before them: ``x_t @ W`` becomes one product of all x.  The last bit of it may differ.
    """
    eqns: list[Eqn] = []
    for e in g.eqns:
        e = with_subgraphs(e, _once)
        if e.prim.name == "scan" and e.params["length"] > 0:
            eqns += _hoist_scan(e)
        elif e.prim.name == "while":
            eqns += _hoist_while(e)
        else:
            eqns.append(e)
    return g.replace(eqns=tuple(eqns))


def _once(g: Graph) -> Graph:
    done: Graph = g.memo(("pass", hoist), lambda: hoist(g))
    return done


# ------------------------------------------------------------------------- what is always the same


def _may_fail(e: Eqn) -> bool:
    return e.prim.name in MAY_FAIL or any(_may_fail(x) for _, g in subgraphs(e.params) for x in g.eqns)


def _movable(g: Graph, fixed_inputs: Sequence[Var], sure: bool) -> tuple[list[Eqn], set[Var]]:
    """The equations that depend on these inputs alone and are worth moving, with those that they need; and the values
    that are worth keeping.

    Args:
        sure: the loop runs at least once.
    """
    fixed = set(fixed_inputs)
    worth: set[Var] = set()
    eqns = []
    for e in g.eqns:
        if e.effect or not _reads_only(e, fixed) or (not sure and _may_fail(e)):
            continue
        fixed.update(e.outputs)
        eqns.append(e)
        small = e.inputs and all(v.aval.size <= 1 for v in e.outputs)
        if e.prim.name not in CHEAP or small or _no_larger(e, worth):
            worth.update(e.outputs)
    return needed(eqns, worth)[0] if worth else [], worth


def _reads_only(e: Eqn, known: Container[Var]) -> bool:
    return all(type(a) is not Var or a in known for a in e.inputs)


def _no_larger(e: Eqn, kept: set[Var]) -> bool:
    """What is computed of a value that is kept, and takes no more memory: it is kept instead."""
    sizes = [a.aval.nbytes for a in e.inputs if type(a) is Var and a in kept]
    return bool(sizes) and sum(v.aval.nbytes for v in e.outputs) <= max(sizes)


def _without(g: Graph, worth: set[Var]) -> tuple[tuple[Eqn, ...], list[Var]]:
    """The body's equations without those that compute these values, and which of the values the body then reads."""
    rest, live = needed([e for e in g.eqns if not e.outputs or e.outputs[0] not in worth], g.outputs)
    return tuple(rest), [v for e in g.eqns for v in e.outputs if v in worth and v in live]


def always_same(g: Graph, n_consts: int, sure: bool = True) -> tuple[Graph | None, Graph]:
    """What a body, whose constants are its first inputs, computes of these alone, if it is worth moving.

    Returns:
        (constants) -> (values), or None where there is nothing; and the body, whose constants are then followed by the values.
    """
    consts = g.inputs[:n_consts]
    moved, worth = _movable(g, consts, sure)
    rest, read_in_loop = _without(g, worth)
    if not read_in_loop:
        return None, g
    body = g.replace(inputs=(*consts, *read_in_loop, *g.inputs[n_consts:]), eqns=rest, input_names=None)
    return Graph(consts, tuple(needed(moved, read_in_loop)[0]), tuple(read_in_loop), g.name), body


def _take_out(g: Graph, n_consts: int, operands: Sequence[Atom], sure: bool) -> tuple[list[Eqn], Graph, list[Atom]]:
    """Takes what is always the same out of a body.

    Returns:
        The equations for the surrounding graph, the body, and the operands for its constants.
    """
    same, body = always_same(g, n_consts, sure)
    if same is None:
        return [], g, list(operands)
    ahead, values = copied(same, operands)
    return ahead, body, [*operands, *values]


def _hoist_while(e: Eqn) -> list[Eqn]:
    n, m = e.params["n_cond_consts"], e.params["n_body_consts"]
    cond_consts, body_consts, carry = split(e.inputs, n, m)
    ahead, cond, cond_consts = _take_out(e.params["cond"], n, cond_consts, True)
    more, body, body_consts = _take_out(e.params["body"], m, body_consts, False)
    params = {"cond": cond, "body": body, "n_cond_consts": len(cond_consts), "n_body_consts": len(body_consts)}
    return [*ahead, *more, e.replace(inputs=(*cond_consts, *body_consts, *carry), params={**e.params, **params})]


# ---------------------------------------------------------------------------------- products of slices


def _hoist_scan(e: Eqn) -> list[Eqn]:
    n, m = e.params["n_consts"], e.params["n_carry"]
    consts, carry, xs = split(e.inputs, n, m)
    ahead, body, consts = _take_out(e.params["graph"], n, consts, True)
    more, body, xs = _take_products(body, consts, m, xs, e.params["length"])
    params = {**e.params, "graph": body, "n_consts": len(consts)}
    return [*ahead, *more, e.replace(inputs=(*consts, *carry, *xs), params=params)]


def _take_products(
    g: Graph, consts: Sequence[Atom], n_carry: int, xs: Sequence[Atom], length: int
) -> tuple[list[Eqn], Graph, list[Atom]]:
    """Takes products of slices with constants out of a scan's body, as products of whole xs.

    Returns:
        The equations for the surrounding graph, the body, and the operands for its xs.
    """
    v_consts, _, v_xs = split(g.inputs, len(consts), n_carry)
    fixed, sliced = set(v_consts), set(v_xs)
    products: set[Var] = set()
    eqns = []
    for e in g.eqns:
        if e.effect:
            continue
        if _reads_only(e, fixed):
            fixed.update(e.outputs)
        elif not all(type(a) is not Var or a in fixed or a in sliced for a in e.inputs):
            continue
        elif e.prim.name in COSTLY or (e.prim.name in CHEAP and e.prim.name != "optimization_barrier"):
            sliced.update(e.outputs)
        elif e.prim.name in PRODUCTS and _worth_moving(e, fixed, sum(v.aval.nbytes for v in v_xs), length):
            sliced.update(e.outputs)
            products.update(e.outputs)
        else:
            continue
        eqns.append(e)
    ahead_of_products = needed(eqns, products)[0] if products else []
    products.update(v for e in ahead_of_products if e.prim.name in COSTLY for v in e.outputs if v in sliced)
    rest, read_in_loop = _without(g, products)
    if not read_in_loop:
        return [], g, list(xs)
    moved = Graph((*v_consts, *v_xs), tuple(needed(eqns, read_in_loop)[0]), tuple(read_in_loop))
    ahead, values = copied(_batched(moved, len(v_consts), length), [*consts, *xs])
    return ahead, g.replace(inputs=(*g.inputs, *read_in_loop), eqns=rest, input_names=None), [*xs, *values]


def _worth_moving(e: Eqn, fixed: set[Var], x_bytes: int, length: int) -> bool:
    lhs, rhs = e.inputs
    if (rhs in fixed) == (lhs in fixed):
        return False
    weights, x = (rhs, lhs) if rhs in fixed else (lhs, rhs)
    result = e.outputs[0].aval
    terms = (x.aval.size * weights.aval.size // max(result.size, 1)) if result.size else 0
    sizes = (x.aval.nbytes, result.nbytes)
    return terms >= LEAST_TERMS**2 and all(s <= MOST_GROWTH * x_bytes or s * length <= MOST_BYTES for s in sizes)


def _batched(g: Graph, n_consts: int, length: int) -> Graph:
    """The graph of (consts, slices) -> results as one of (consts, whole xs) -> stacked results."""

    def f(*args: Any) -> list[Any]:
        env: dict[Var, tuple[Any, int | None]] = {
            v: (a, None if i < n_consts else 0) for i, (v, a) in enumerate(zip(g.inputs, args))
        }
        for e in g.eqns:
            values, dims = (
                zip(*[env[a] if type(a) is Var else (read({}, a), None) for a in e.inputs]) if e.inputs else ((), ())
            )
            with source_override(e.source):
                if all(d is None for d in dims):
                    out, at = bind(e.prim, *values, **e.params), None  # type: ignore[arg-type]
                else:
                    out, at = e.prim.rule("batch")(length, values, dims, **e.params)  # type: ignore[attr-defined]
            env[e.outputs[0]] = (out, at)
        return [move_batch(x, d, 0) for x, d in (env[a] for a in g.outputs)]  # type: ignore[index,arg-type]

    avals = [v.aval if i < n_consts else v.aval.with_(shape=(length, *v.aval.shape)) for i, v in enumerate(g.inputs)]
    batched, captures = trace_flat(f, avals, kind="hoist", name=g.name)
    assert not captures, "a batching rule closed over an array"
    return batched
