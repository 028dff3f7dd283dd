"""Einstein's summation: any number of operands, contracted in pairs by ``dot_general``."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ShapeError
from ..plans import planned
from ..primitives import reductions as r
from ..primitives import shaping
from ..primitives.linalg import dot_general
from .core import Value, as_type, operand, promote_dtype
from .rearranging import diagonal

__all__ = ["einsum", "einsum_path"]

Term = tuple[str, Value]  # the letters of an operand's axes, and the operand


def _as_text(items: Sequence[Any]) -> tuple[str, list[Any]]:
    """The form with lists, ``einsum(a, [0, 1], b, [1, 2], [0, 2])``, as subscripts and operands."""
    operands = list(items[0 : len(items) - len(items) % 2 : 2])
    lists = list(items[1::2][: len(operands)]) + ([items[-1]] if len(items) % 2 else [])
    numbers = sorted({s for sub in lists for s in sub if s is not Ellipsis})
    if len(numbers) > len(string.ascii_letters):
        raise ShapeError(f"einsum: {len(numbers)} different axes; there can be {len(string.ascii_letters)}")
    letter = dict(zip(numbers, string.ascii_letters))
    texts = ["".join("..." if s is Ellipsis else letter[s] for s in sub) for sub in lists]
    n = len(operands)
    return ",".join(texts[:n]) + ("->" + texts[n] if len(texts) > n else ""), operands


def _parse(subscripts: Any, operands: Sequence[Any]) -> tuple[list[str], str, list[Value]]:
    """The letters of each operand and of the result, with the ellipsis spelled out.

    Raises:
        ShapeError: letters and operands do not fit.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _as_text([subscripts, *operands])
    xs = promote_dtype(*[operand(x) for x in operands])
    spec = subscripts.replace(" ", "")
    left, arrow, right = spec.partition("->")
    terms = left.split(",")
    if len(terms) != len(xs):
        raise ShapeError(f"einsum {subscripts!r} names {len(terms)} operands; {len(xs)} were given")
    bad = [ch for ch in spec.replace("->", "").replace("...", "").replace(",", "") if not ch.isalnum()]
    if bad:
        raise ShapeError(f"einsum {subscripts!r}: {bad[0]!r} is not a letter")
    hidden = [x.ndim - len(t.replace("...", "")) if "..." in t else 0 for t, x in zip(terms, xs)]
    spare = [ch for ch in string.ascii_letters if ch not in spec]
    dots = "".join(spare[: max([0, *hidden])])
    full = []
    for t, x, k in zip(terms, xs, hidden):
        t = t.replace("...", dots[len(dots) - k :] if k > 0 else "")
        if len(t) != x.ndim:
            raise ShapeError(f"einsum {subscripts!r}: {t!r} names {len(t)} axes, but the operand has shape {x.shape}")
        full.append(t)
    if arrow:
        result = right.replace("...", dots)
    else:
        counts = "".join(full)
        result = dots + "".join(sorted(ch for ch in set(counts) if counts.count(ch) == 1 and ch not in dots))
    for ch in result:
        if not any(ch in t for t in full):
            raise ShapeError(f"einsum {subscripts!r}: the result names {ch!r}, which no operand has")
    if len(set(result)) != len(result):
        raise ShapeError(f"einsum {subscripts!r}: the result names an axis twice")
    return full, result, xs


def _diagonals(t: str, x: Value) -> Term:
    """An operand with a repeated letter reduced to its diagonal."""
    for ch in sorted(set(t)):
        while t.count(ch) > 1:
            i, j = t.index(ch), t.index(ch, t.index(ch) + 1)
            if x.shape[i] != x.shape[j]:
                raise ShapeError(
                    f"einsum: axes {i} and {j} are both {ch!r} but have sizes {x.shape[i]} and {x.shape[j]}"
                )
            x = diagonal(x, 0, i, j)
            t = t[:i] + t[i + 1 : j] + t[j + 1 :] + ch
    return t, x


def _sum_letters(t: str, x: Value, keep: set[str]) -> Term:
    """Sums over the axes that nobody needs."""
    drop = tuple([i for i, ch in enumerate(t) if ch not in keep])
    if not drop:
        return t, x
    reduce = r.reduce_or if x.dtype == dtypes.bool_ else r.reduce_sum
    return "".join(ch for ch in t if ch in keep), reduce(x, drop)


def _drop_ones(ta: str, a: Value, tb: str, b: Value) -> tuple[Term, Term]:
    """Where a common axis has size 1 in one operand only, it is taken away there: the other broadcasts it."""
    for ch in set(ta) & set(tb):
        i, j = ta.index(ch), tb.index(ch)
        if a.shape[i] == b.shape[j]:
            continue
        if a.shape[i] == 1:
            a, ta = shaping.squeeze(a, (i,)), ta[:i] + ta[i + 1 :]
        elif b.shape[j] == 1:
            b, tb = shaping.squeeze(b, (j,)), tb[:j] + tb[j + 1 :]
        else:
            raise ShapeError(
                f"einsum: the axis {ch!r} has sizes {a.shape[i]} and {b.shape[j]}; they must be equal or 1"
            )
    return (ta, a), (tb, b)


def _contract_pair(first: Term, second: Term, keep: set[str], precision: Any, preferred: Any) -> Term:
    """Contracts two operands over the letters that neither the result nor another operand needs."""
    (ta, a), (tb, b) = _drop_ones(*first, *second)
    ta, a = _sum_letters(ta, a, keep | set(tb))
    tb, b = _sum_letters(tb, b, keep | set(ta))
    both = [ch for ch in ta if ch in tb]
    batch = [ch for ch in both if ch in keep]
    contract = [ch for ch in both if ch not in keep]
    axes = [tuple([t.index(ch) for ch in letters]) for letters in (contract, batch) for t in (ta, tb)]
    out = dot_general(a, b, ((axes[0], axes[1]), (axes[2], axes[3])), precision, preferred)
    return "".join([*batch, *[ch for ch in ta if ch not in both], *[ch for ch in tb if ch not in both]]), out


def _path(terms: Sequence[str], result: str, xs: Sequence[Value], optimize: Any) -> list[tuple[int, ...]]:
    """Which operands are contracted together, step by step; a step's result goes to the end of the list."""
    if len(xs) <= 2 or optimize is False:
        return [(0, 1)] * (len(xs) - 1)
    if isinstance(optimize, (list, tuple)):
        return [tuple(q) for q in optimize if not isinstance(q, str)]
    spec = ",".join(terms) + "->" + result
    try:
        import opt_einsum  # an optional extra, and slow to import: loaded where three operands ask for it
    except ImportError:
        views = [np.broadcast_to(np.float32(0), x.shape) for x in xs]
        return [
            tuple(q)
            for q in np.einsum_path(spec, *views, optimize="optimal" if optimize == "optimal" else "greedy")[0][1:]
        ]
    strategy = optimize if isinstance(optimize, str) else "auto"
    path, _ = opt_einsum.contract_path(spec, *[x.shape for x in xs], shapes=True, optimize=strategy)
    return [tuple(q) for q in path]


@planned
def einsum(
    subscripts: Any, /, *operands: Any, out: Any = None, optimize: Any = "auto", precision: Any = None, preferred_element_type: Any = None,
    **_: Any,
) -> Value:  # fmt: skip
    """Sums of products in index notation: ``einsum('ij,jk->ik', a, b)`` is the matrix product.

    Args:
        subscripts: letters for the axes of each operand and of the result (``...`` stands for any axes), or an operand
            followed by the list of its axes, and so on.
        optimize: the contraction order: True or "auto" (opt_einsum where installed, else NumPy's greedy order), False
            (left to right), a strategy's name, or a path from ``einsum_path``.

    Raises:
        ShapeError: letters and shapes do not fit.

    >>> import fx.numpy as fnp
    >>> fnp.einsum("ij,j->i", fnp.ones((2, 3)), fnp.ones(3))
    Array([3., 3.], dtype=float32)
    """
    terms, result, xs = _parse(subscripts, operands)
    pairs = [_diagonals(t, x) for t, x in zip(terms, xs)]
    for step in _path([t for t, _ in pairs], result, [x for _, x in pairs], optimize):
        chosen = [pairs[i] for i in step]
        pairs = [q for i, q in enumerate(pairs) if i not in step]
        done, rest = chosen[0], chosen[1:]
        for n, other in enumerate(rest):
            keep = set(result).union(*[set(t) for t, _ in (*pairs, *rest[n + 1 :])])
            done = _contract_pair(done, other, keep, precision, preferred_element_type)
        pairs.append(done)
    ((t, x),) = pairs
    t, x = _sum_letters(t, x, set(result))
    x = x if preferred_element_type is None else as_type(x, preferred_element_type)
    return shaping.transpose(x, [t.index(ch) for ch in result])


def einsum_path(subscripts: Any, /, *operands: Any, optimize: Any = "greedy") -> Any:
    """The order of contraction and a description of it, as ``numpy.einsum_path``."""
    terms, result, xs = _parse(subscripts, operands)
    views = [np.broadcast_to(np.float32(0), x.shape) for x in xs]
    return np.einsum_path(
        ",".join(terms) + "->" + result, *views, optimize="greedy" if optimize == "auto" else optimize
    )
