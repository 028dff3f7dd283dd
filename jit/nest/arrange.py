"""The order of a nest's loops, which of them run as one, and the kind of kernel."""

from __future__ import annotations

import math

from ..lower.reductions import is_arg
from .index_map import Affine, Opaque
from .nodes import Choose, Fetch, Index, Leaf, Nest, NestReduction, NestStore, Node, walk

__all__ = ["arrange"]


def arrange(
    atoms: list[tuple[int, int]], reduced: frozenset[int], stores: tuple[NestStore, ...],
    reductions: tuple[NestReduction, ...],
) -> Nest:  # fmt: skip
    """Orders and merges the loops of a traced nest and chooses the kind of kernel."""
    sizes = [n for _, n in atoms]
    kept = [a for a, (p, _) in enumerate(atoms) if p not in reduced]
    gone = [a for a, (p, _) in enumerate(atoms) if p in reduced]
    draft = Nest("", (), 0, stores, reductions)
    nodes = list(walk(draft.targets()))
    kind = "map" if not reductions else "rows" if gone[-1] > max(kept, default=-1) else "columns"
    in_order = len(gone) > 1 and any(is_arg(r.op) for r in reductions)  # the first of equals is wanted
    if reductions and draft.stages == 1 and not in_order:
        kind = _order_by_memory(nodes, sizes, kept, gone) or kind
    if kind == "columns" and (draft.stages > 1 or any(s.full and s.node.stage for s in stores)):
        raise Opaque("several stages over columns")
    maps = [x.at for x in nodes if isinstance(x, (Leaf, Fetch, Index))] + [s.at for s in stores]
    maps += [c.at for x in nodes if isinstance(x, (Leaf, Fetch, Choose)) for c in x.conds]
    number: dict[int, int] = {}
    last: dict[int, int] = {}
    final: list[int] = []
    n_kept = 0
    for group in (kept, gone):
        for run in _mergeable_runs(group, maps, sizes):
            last[run[-1]] = len(final)
            number.update({a: len(final) for a in run})
            final.append(math.prod(sizes[a] for a in run))
        if group is kept:
            n_kept = len(final)
    return Nest(kind, tuple(final), n_kept, stores, reductions, number, last)


def _order_by_memory(nodes: list[Node], sizes: list[int], kept: list[int], gone: list[int]) -> str | None:
    """Sorts the loops so that the largest array that is read is walked in the order of its memory; returns the kind."""

    def extent(leaf: Leaf | Fetch) -> int:
        return math.prod(sizes[a] for a in walked(leaf))

    def walked(leaf: Leaf | Fetch) -> list[int]:
        return [a for a in leaf.atoms if a >= 0] if isinstance(leaf, Fetch) else [a for a, _ in leaf.at.terms]

    leaves = [n for n in nodes if isinstance(n, (Leaf, Fetch)) and n.at.terms]
    if not leaves:
        return None
    main = max(leaves, key=extent)
    far = max(abs(c) for _, c in main.at.terms) + 1  # apart lie the places that an index leads to
    stride = dict.fromkeys(walked(main), far) | {a: abs(c) for a, c in main.at.terms}
    gone.sort(key=lambda a: -stride.get(a, 0))
    fastest = min(stride, key=lambda a: stride[a])
    if fastest in gone:
        return "rows"
    kept.remove(fastest)
    kept.append(fastest)
    return "columns"


def _mergeable_runs(group: list[int], maps: list[Affine], sizes: list[int]) -> list[list[int]]:
    """Neighbouring loops that every map walks as one."""
    runs: list[list[int]] = []
    for a in group:
        if runs and all(m.coef(runs[-1][-1]) == m.coef(a) * sizes[a] for m in maps):
            runs[-1].append(a)
        else:
            runs.append([a])
    return runs
