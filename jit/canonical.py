"""Rewrites of a graph that only the machine side wants, before fusion.

``transposed_products``: the transpose rule of a matrix product gives a product and then a transpose of it.  The product
with its operands exchanged is the transposed one, so no transposing loop is needed.
"""

from __future__ import annotations

from fx.ir import Eqn, Graph, Var

__all__ = ["transposed_products"]


def transposed_products(graph: Graph) -> Graph:
    """Replaces ``transpose(dot_general(a, b))`` by ``dot_general(b, a)`` where that is the same and nothing else reads
    the untransposed product."""
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
        if tuple(eqn.params["permutation"]) == _exchange(product):
            (lc, rc), (lb, rb) = product.params["dimension_numbers"]
            params = {**product.params, "dimension_numbers": ((rc, lc), (rb, lb))}
            replaced[id(product)] = None
            replaced[id(eqn)] = product.replace(inputs=product.inputs[::-1], params=params, outputs=eqn.outputs)
    if not replaced:
        return graph
    eqns = [replaced.get(id(e), e) for e in graph.eqns]
    return graph.replace(eqns=tuple(e for e in eqns if e is not None))


def _exchange(product: Eqn) -> tuple[int, ...]:
    """The permutation of the result that exchanging the operands makes: batch, rhs free, lhs free."""
    (lc, _), (lb, _) = product.params["dimension_numbers"]
    rank = product.outputs[0].aval.ndim
    batch, left = len(lb), product.inputs[0].aval.ndim - len(lc) - len(lb)
    return (*range(batch), *range(batch + left, rank), *range(batch, batch + left))
