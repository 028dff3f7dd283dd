"""Rewrites of a graph that only the machine side wants, before fusion.

``transposed_products``: the transpose rule of a matrix product gives a product and then a transpose of it.  The product
with its operands exchanged is the transposed one, so no transposing loop is needed; or the product stores its rows where the
transpose has them (heads behind positions in attention), which a parameter of its own says, ``permutation``.

``wrapped_indices``: an index that counts from the end has the length added, in a pass of its own over all indices.  Gathers and
scatters of one element along the axis do so where they read an index; they say so by a parameter of their own, ``wraps``.

``extremes_with_positions``: a pool whose gradient is wanted needs the extremes of its windows and their positions.  One pass over
the operand gives both: the positions' equation has the extremes as a second result.
"""

from __future__ import annotations

from typing import Any

from fx.ir import Atom, Aval, Eqn, Graph, Literal, Var
from fx.sizes import is_sized

from .kernels.microkernel import LINE
from .lower.scatter import SCATTERS

__all__ = ["canonical", "extremes_with_positions", "transposed_products", "wrapped_indices"]


SMALL = 1 << 12  # bytes


def canonical(graph: Graph) -> Graph:
    """All rewrites."""
    return extremes_with_positions(wrapped_indices(transposed_products(graph)))


def transposed_products(graph: Graph) -> Graph:
    """Replaces ``transpose(dot_general(a, b))`` by ``dot_general(b, a)`` where that is the same, or by a product that stores
    its rows where they belong, and nothing else reads the untransposed product."""
    producers = {v: e for e in graph.eqns for v in e.outputs}
    reads: dict[Var, int] = {}
    for a in [a for e in graph.eqns for a in e.inputs] + list(graph.outputs):
        if isinstance(a, Var):
            reads[a] = reads.get(a, 0) + 1
    replaced: dict[int, Eqn | None] = {}  # by equation: what stands in its place
    for eqn in graph.eqns:
        if eqn.prim.name != "transpose" or not isinstance(eqn.inputs[0], Var):
            continue
        product = producers.get(eqn.inputs[0])
        if product is None or product.prim.name != "dot_general" or reads[eqn.inputs[0]] != 1:
            continue
        new = _stored_transposed(product, tuple(eqn.params["permutation"]))
        if new is not None:
            replaced[id(product)] = None
            replaced[id(eqn)] = new.replace(outputs=eqn.outputs)
    if not replaced:
        return graph
    eqns = [replaced.get(id(e), e) for e in graph.eqns]
    return graph.replace(eqns=tuple(e for e in eqns if e is not None))


def _stored_transposed(product: Eqn, permutation: tuple[int, ...]) -> Eqn | None:
    """The product whose result is the transposed one; None where columns would not lie side by side."""
    exchange, identity = _exchange(product), tuple(range(len(permutation)))
    if permutation[-1] != identity[-1]:
        (lc, rc), (lb, rb) = product.params["dimension_numbers"]
        params = {**product.params, "dimension_numbers": ((rc, lc), (rb, lb))}
        product = product.replace(inputs=product.inputs[::-1], params=params)
        permutation = tuple([exchange.index(axis) for axis in permutation])
    if permutation == identity:
        return product
    out = product.outputs[0].aval
    columns = out.shape[-1]
    alike = permutation[-1] == identity[-1] and not is_sized(columns)
    if not alike or columns * out.dtype.itemsize % LINE or _is_small(out):
        return None
    return product.replace(params={**product.params, "permutation": permutation})


def _is_small(aval: Aval) -> bool:
    """Whether a body of a loop may hold such a value in registers."""
    return not is_sized(aval.size) and aval.nbytes <= SMALL


def _exchange(product: Eqn) -> tuple[int, ...]:
    """The permutation of the result that exchanging the operands makes: batch, rhs free, lhs free."""
    (lc, _), (lb, _) = product.params["dimension_numbers"]
    rank = product.outputs[0].aval.ndim
    batch, left = len(lb), product.inputs[0].aval.ndim - len(lc) - len(lb)
    return (*range(batch), *range(batch + left, rank), *range(batch, batch + left))


def wrapped_indices(graph: Graph) -> Graph:
    """Leaves it to gathers and scatters to add the length of an axis to negative indices."""
    makers = {v: e for e in graph.eqns for v in e.outputs}
    replaced: dict[int, list[Eqn]] = {}
    passes: set[int] = set()  # equations that nobody may need any more
    for eqn in graph.eqns:
        found = _wrapped(eqn, makers)
        if found is None:
            continue
        spread, plain, parts = found
        raw = spread.replace(inputs=(plain,), outputs=(Var(spread.outputs[0].aval),))
        operands = (eqn.inputs[0], raw.outputs[0], *eqn.inputs[2:])
        replaced[id(eqn)] = [raw, eqn.replace(inputs=operands, params={**eqn.params, "wraps": True})]
        passes.update(map(id, (spread, *parts)))
    if not replaced:
        return graph
    eqns: list[Eqn] = []
    read = {a for a in graph.outputs if isinstance(a, Var)}
    for e in reversed([new for old in graph.eqns for new in replaced.get(id(old), [old])]):
        if id(e) not in passes or not read.isdisjoint(e.outputs):
            eqns.append(e)
            read.update(a for a in e.inputs if isinstance(a, Var))
    return graph.replace(eqns=tuple(reversed(eqns)))


def _wrapped(eqn: Eqn, makers: dict[Var, Eqn]) -> tuple[Eqn, Atom, list[Eqn]] | None:
    """Of a gather or scatter along one axis by indices ``where(i < 0, i + n, i)``: the equation that gives those an axis of
    components, ``i``, and the equations that may be left out."""
    if eqn.prim.name != "gather" and eqn.prim.name not in SCATTERS:
        return None
    x, axes = eqn.inputs[0].aval, eqn.params["dimension_numbers"][2]
    if len(axes) != 1 or axes[0] not in eqn.params["dimension_numbers"][1]:
        return None  # slices are one element along the axis if that is left out of the result, or inserted
    spread = _made(eqn.inputs[1], "expand_dims", makers)
    chosen = spread and _made(spread.inputs[0], "select_n", makers)
    if spread is None or chosen is None or len(chosen.inputs) != 3:
        return None
    which, plain, moved = chosen.inputs
    below, added = _made(which, "lt", makers), _made(moved, "add", makers)
    if below is None or added is None or below.inputs[0] is not plain or added.inputs[0] is not plain:
        return None
    zero, length = _number(below.inputs[1], makers), _number(added.inputs[1], makers)
    if zero is None or length is None or zero != 0 or length != x.shape[axes[0]]:
        return None
    numbers = [m for a in (below.inputs[1], added.inputs[1]) if (m := _made(a, "broadcast_in_dim", makers))]
    return spread, plain, [chosen, below, added, *numbers]


def _made(a: Atom, name: str, makers: dict[Var, Eqn]) -> Eqn | None:
    """The equation of this name that an atom is the result of."""
    maker = makers.get(a) if isinstance(a, Var) else None
    return maker if maker is not None and maker.prim.name == name else None


def _number(a: Atom, makers: dict[Var, Eqn]) -> Any:
    """The number that an atom is, or repeats."""
    spread = _made(a, "broadcast_in_dim", makers)
    source = a if spread is None else spread.inputs[0]
    return source.value if isinstance(source, Literal) else None


def extremes_with_positions(graph: Graph) -> Graph:
    """Replaces window extremes and their positions, of one operand and the same windows, by one equation with both results."""
    pairs: dict[tuple[Any, ...], list[Eqn]] = {}
    for e in graph.eqns:
        name = e.prim.name
        if name.startswith("reduce_window_") and name.endswith(("max", "min")):
            key = (name[-3:], e.inputs[0], *sorted(e.params.items()))
            pairs.setdefault(key, []).append(e)
    replaced: dict[int, Eqn | None] = {}
    for found in pairs.values():
        if len(found) == 2 and found[0].prim is not found[1].prim:
            extreme, positions = sorted(found, key=lambda e: "arg" in e.prim.name)
            both = positions.replace(outputs=(*positions.outputs, *extreme.outputs))
            replaced |= {id(found[0]): both, id(found[1]): None}
    if not replaced:
        return graph
    eqns = [replaced.get(id(e), e) for e in graph.eqns]
    return graph.replace(eqns=tuple(e for e in eqns if e is not None))
