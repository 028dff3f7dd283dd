"""Products of arrays: dot, matmul, tensordot, einsum and their kin, all on ``dot_general``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ShapeError
from ..primitives import elementwise as p
from ..primitives import linalg, shaping
from ..primitives import reductions as r
from .core import as_type, as_value, broadcast_value, canonical_axis, promote
from .manipulation import moveaxis
from .ufuncs import registered as u

Value = Any

__all__ = [
    "cross", "dot", "einsum", "einsum_path", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "vdot", "vecdot", "vecmat",
]  # fmt: skip


def _operands(a: Any, b: Any) -> tuple[Value, Value]:
    """Two operands of one dtype (shapes untouched)."""
    x, y = as_value(a), as_value(b)
    d = dtypes.promote((x.dtype, x.weak_type), (y.dtype, y.weak_type))[0]
    return as_type(x, d), as_type(y, d)


def _dot_general(x: Value, y: Value, contract: tuple[Any, Any], batch: tuple[Any, Any], preferred: Any) -> Value:
    return linalg.dot_general(x, y, (contract, batch), preferred_element_type=preferred)


def _mismatch(name: str, x: Value, y: Value, i: int, j: int) -> ShapeError:
    return ShapeError(
        f"{name} of shapes {x.shape} and {y.shape}: axis {i} of the first has size {x.shape[i]}, axis {j} of the second"
        f" {y.shape[j]}; they must be equal"
    )


def dot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None, out: Any = None) -> Value:
    """The product over the last axis of ``a`` and the second-last (or only) axis of ``b``."""
    x, y = _operands(a, b)
    if x.ndim == 0 or y.ndim == 0:
        return u["multiply"](x, y)
    i, j = x.ndim - 1, max(y.ndim - 2, 0)
    if x.shape[i] != y.shape[j]:
        raise _mismatch("dot", x, y, i, j)
    return _dot_general(x, y, ((i,), (j,)), ((), ()), preferred_element_type)


def matmul(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None, out: Any = None) -> Value:
    """The matrix product; leading axes are batches and broadcast, vectors are rows or columns as needed."""
    x, y = _operands(a, b)
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError(f"matmul takes arrays with at least one dimension; found shapes {x.shape} and {y.shape}. Use * for scalars.")
    i, j = x.ndim - 1, max(y.ndim - 2, 0)
    if x.shape[i] != y.shape[j]:
        raise _mismatch("matmul", x, y, i, j)
    lead_x, lead_y = x.shape[:-2], y.shape[:-2]
    if not lead_x and not lead_y:
        return _dot_general(x, y, ((i,), (j,)), ((), ()), preferred_element_type)
    if not lead_y:  # one matrix for every batch: a single large product
        return _dot_general(x, y, ((i,), (j,)), ((), ()), preferred_element_type)
    try:
        lead = np.broadcast_shapes(lead_x, lead_y)
    except ValueError:
        raise ShapeError(f"matmul: the batch shapes {lead_x} and {lead_y} cannot be broadcast together") from None
    n = len(lead)
    x = broadcast_value(x, (*lead, *x.shape[-2:])) if x.ndim > 1 else x
    y = broadcast_value(y, (*lead, *y.shape[-2:]))
    if x.ndim == 1:
        out = _dot_general(y, x, ((n,), (0,)), ((), ()), preferred_element_type)
        return out
    batch = tuple(range(n))
    return _dot_general(x, y, ((n + 1,), (n,)), (batch, batch), preferred_element_type)


def vdot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """The inner product of the flattened arrays, the first conjugated."""
    x, y = _operands(a, b)
    x, y = shaping.reshape(x, (x.size,)), shaping.reshape(y, (y.size,))
    return dot(u["conjugate"](x), y, preferred_element_type=preferred_element_type)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """Inner products along ``axis``, the first operand conjugated; the other axes broadcast."""
    x, y = _operands(x1, x2)
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError("vecdot takes arrays with at least one dimension")
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    if x.shape[-1] != y.shape[-1]:
        raise _mismatch("vecdot", x, y, x.ndim - 1, y.ndim - 1)
    x, y = promote(u["conjugate"](x), y)
    n = x.ndim - 1
    batch = tuple(range(n))
    return _dot_general(x, y, ((n,), (n,)), (batch, batch), preferred_element_type)


def matvec(x1: Any, x2: Any, /) -> Value:
    """Matrix times vector, batched."""
    y = as_value(x2)
    return shaping.squeeze(out := matmul(x1, shaping.expand_dims(y, (y.ndim,))), (out.ndim - 1,)) if y.ndim else matmul(x1, y)


def vecmat(x1: Any, x2: Any, /) -> Value:
    """Conjugated vector times matrix, batched."""
    x = u["conjugate"](as_value(x1))
    out = matmul(shaping.expand_dims(x, (x.ndim - 1,)), x2)
    return shaping.squeeze(out, (out.ndim - 2,))


def inner(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """The product over the last axes."""
    x, y = _operands(a, b)
    if x.ndim == 0 or y.ndim == 0:
        return u["multiply"](x, y)
    if x.shape[-1] != y.shape[-1]:
        raise _mismatch("inner", x, y, x.ndim - 1, y.ndim - 1)
    return _dot_general(x, y, ((x.ndim - 1,), (y.ndim - 1,)), ((), ()), preferred_element_type)


def outer(a: Any, b: Any, out: Any = None) -> Value:
    """All products of an element of ``a`` and one of ``b``, both flattened."""
    x, y = as_value(a), as_value(b)
    return u["multiply"](shaping.reshape(x, (x.size, 1)), shaping.reshape(y, (1, y.size)))


def tensordot(a: Any, b: Any, axes: Any = 2, *, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """The product summed over pairs of axes: a number (last of ``a`` with first of ``b``) or two lists."""
    x, y = _operands(a, b)
    if isinstance(axes, (int, np.integer)):
        n = int(axes)
        if n < 0 or n > min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot over {n} axes of arrays with {x.ndim} and {y.ndim} dimensions")
        i, j = tuple(range(x.ndim - n, x.ndim)), tuple(range(n))
    else:
        first, second = axes
        i = tuple(canonical_axis(q, x.ndim) for q in (first if isinstance(first, (tuple, list)) else (first,)))
        j = tuple(canonical_axis(q, y.ndim) for q in (second if isinstance(second, (tuple, list)) else (second,)))
    if len(i) != len(j) or any(x.shape[s] != y.shape[t] for s, t in zip(i, j)):
        raise ShapeError(f"tensordot of shapes {x.shape} and {y.shape} over axes {i} and {j}: the sizes must be equal")
    return _dot_general(x, y, (i, j), ((), ()), preferred_element_type)


def kron(a: Any, b: Any) -> Value:
    """The Kronecker product."""
    x, y = as_value(a), as_value(b)
    n = max(x.ndim, y.ndim)
    x, y = (shaping.reshape(v, (1,) * (n - v.ndim) + v.shape) for v in (x, y))
    shape = tuple(s * t for s, t in zip(x.shape, y.shape))
    xs = shaping.reshape(x, tuple(itertools.chain.from_iterable((s, 1) for s in x.shape)))
    ys = shaping.reshape(y, tuple(itertools.chain.from_iterable((1, t) for t in y.shape)))
    return shaping.reshape(u["multiply"](xs, ys), shape)


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Value:
    """The cross product of vectors of size 2 or 3."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = moveaxis(as_value(a), axisa, -1), moveaxis(as_value(b), axisb, -1)
    if x.shape[-1] not in (2, 3) or y.shape[-1] not in (2, 3):
        raise ShapeError(f"cross takes vectors of size 2 or 3; found sizes {x.shape[-1]} and {y.shape[-1]}")
    mul, sub = u["multiply"], u["subtract"]
    if x.shape[-1] == 2 and y.shape[-1] == 2:
        return sub(mul(x[..., 0], y[..., 1]), mul(x[..., 1], y[..., 0]))
    x, y = (v if v.shape[-1] == 3 else shaping.pad(v, np.zeros((), v.dtype)[()], ((0, 0, 0),) * (v.ndim - 1) + ((0, 1, 0),)) for v in (x, y))
    parts = [
        sub(mul(x[..., (k + 1) % 3], y[..., (k + 2) % 3]), mul(x[..., (k + 2) % 3], y[..., (k + 1) % 3])) for k in range(3)
    ]
    out = shaping.concatenate([shaping.expand_dims(q, (q.ndim,)) for q in parts], parts[0].ndim)
    return moveaxis(out, -1, axisc)


# -------------------------------------------------------------------------------------------- einsum


def _parse(subscripts: Any, operands: Sequence[Any]) -> tuple[list[str], str, list[Value]]:
    """Subscripts of each operand and of the result, with the ellipsis spelled out."""
    if not isinstance(subscripts, str):  # einsum(op0, [0, 1], op1, [1, 2], [0, 2])
        items = [subscripts, *operands]
        arrays = items[0 : len(items) - len(items) % 2 : 2]
        sublists = items[1::2][: len(arrays)]
        letters = [chr(c) for c in (*range(97, 123), *range(65, 91))]

        def text(sub: Sequence[Any]) -> str:
            return "".join("..." if s is Ellipsis else letters[s] for s in sub)

        subscripts = ",".join(map(text, sublists)) + ("->" + text(items[-1]) if len(items) % 2 else "")
        operands = arrays
    xs = [as_value(x) for x in operands]
    spec = subscripts.replace(" ", "")
    left, arrow, right = spec.partition("->")
    terms = left.split(",")
    if len(terms) != len(xs):
        raise ShapeError(f"einsum {subscripts!r} names {len(terms)} operands; {len(xs)} were given")
    used = set(spec) - set(",.->")
    bad = [ch for ch in used if not ch.isalpha()]
    if bad:
        raise ShapeError(f"einsum {subscripts!r}: {bad[0]!r} is not a letter")
    spare = [ch for ch in (chr(c) for c in (*range(97, 123), *range(65, 91))) if ch not in used]
    n_dots = max((x.ndim - len(t.replace("...", "")) for t, x in zip(terms, xs) if "..." in t), default=0)
    dots = "".join(spare[: max(n_dots, 0)])
    out_terms = []
    for t, x in zip(terms, xs):
        if "..." in t:
            k = x.ndim - len(t.replace("...", ""))
            t = t.replace("...", dots[len(dots) - k :] if k > 0 else "")
        if len(t) != x.ndim:
            raise ShapeError(f"einsum {subscripts!r}: {t!r} names {len(t)} axes, but the operand has shape {x.shape}")
        out_terms.append(t)
    if arrow:
        result = right.replace("...", dots)
    else:
        counts = "".join(out_terms)
        result = dots + "".join(sorted(ch for ch in set(counts) if counts.count(ch) == 1 and ch not in dots))
    for ch in result:
        if not any(ch in t for t in out_terms):
            raise ShapeError(f"einsum {subscripts!r}: the result names {ch!r}, which no operand has")
    if len(set(result)) != len(result):
        raise ShapeError(f"einsum {subscripts!r}: the result names an axis twice")
    return out_terms, result, xs


def _diagonals(t: str, x: Value) -> tuple[str, Value]:
    """An operand with a repeated letter reduced to its diagonal."""
    for ch in sorted(set(t)):
        while t.count(ch) > 1:
            i, j = t.index(ch), t.index(ch, t.index(ch) + 1)
            if x.shape[i] != x.shape[j]:
                raise ShapeError(f"einsum: axes {i} and {j} are both {ch!r} but have sizes {x.shape[i]} and {x.shape[j]}")
            on = p.eq(*[shaping.broadcasted_iota(dtypes.int32, x.shape, k) for k in (i, j)])
            x = r.reduce_sum(p.select(on, x, _zeros(x)), (j,))
            t = t[:j] + t[j + 1 :]
    return t, x


def _zeros(x: Value) -> Value:
    return shaping.broadcast_in_dim(np.zeros((), x.dtype)[()], x.shape, ())


def _sum_letters(t: str, x: Value, keep: set[str]) -> tuple[str, Value]:
    drop = tuple(i for i, ch in enumerate(t) if ch not in keep)
    return ("".join(ch for ch in t if ch in keep), r.reduce_sum(x, drop)) if drop else (t, x)


def _contract_pair(ta: str, a: Value, tb: str, b: Value, keep: set[str], preferred: Any) -> tuple[str, Value]:
    """Contracts two operands over the letters that neither the result nor another operand needs."""
    ta, a = _sum_letters(ta, a, keep | set(tb))
    tb, b = _sum_letters(tb, b, keep | set(ta))
    # axes of size 1 broadcast against larger ones
    for ch in set(ta) & set(tb):
        i, j = ta.index(ch), tb.index(ch)
        if a.shape[i] != b.shape[j]:
            if a.shape[i] == 1:
                a, ta = shaping.squeeze(a, (i,)), ta[:i] + ta[i + 1 :]
            elif b.shape[j] == 1:
                b, tb = shaping.squeeze(b, (j,)), tb[:j] + tb[j + 1 :]
            else:
                raise ShapeError(f"einsum: the axis {ch!r} has sizes {a.shape[i]} and {b.shape[j]}")
    both = [ch for ch in ta if ch in tb]
    batch = [ch for ch in both if ch in keep]
    contract = [ch for ch in both if ch not in keep]
    out = linalg.dot_general(
        a, b,
        (
            (tuple(ta.index(ch) for ch in contract), tuple(tb.index(ch) for ch in contract)),
            (tuple(ta.index(ch) for ch in batch), tuple(tb.index(ch) for ch in batch)),
        ),
        preferred_element_type=preferred,
    )  # fmt: skip
    t = "".join([*batch, *(ch for ch in ta if ch not in both), *(ch for ch in tb if ch not in both)])
    return _sum_letters(t, out, keep)


def _path(terms: Sequence[str], result: str, xs: Sequence[Value], optimize: Any) -> list[tuple[int, ...]]:
    if len(xs) <= 2 or optimize is False:
        return [(0, 1)] * (len(xs) - 1)
    if isinstance(optimize, (list, tuple)) and optimize and not isinstance(optimize[0], str):
        return [tuple(q) for q in optimize]
    if isinstance(optimize, (list, tuple)):
        return [tuple(q) for q in optimize[1:]]
    try:
        import opt_einsum  # an optional extra: better contraction orders for many operands
    except ImportError:
        strategy = "optimal" if optimize == "optimal" else "greedy"
        views = [np.broadcast_to(np.float32(0), x.shape) for x in xs]
        return [tuple(q) for q in np.einsum_path(",".join(terms) + "->" + result, *views, optimize=strategy)[0][1:]]
    strategy = optimize if isinstance(optimize, str) else "auto"
    path, _ = opt_einsum.contract_path(",".join(terms) + "->" + result, *[x.shape for x in xs], shapes=True, optimize=strategy)
    return [tuple(q) for q in path]


def einsum(subscripts: Any, /, *operands: Any, out: Any = None, optimize: Any = True, precision: Any = None, preferred_element_type: Any = None, **_: Any) -> Value:
    """Sums of products in index notation: ``einsum('ij,jk->ik', a, b)`` is the matrix product.

    Args:
        optimize: the contraction order: True (opt_einsum where installed, else NumPy's greedy order), False (left to
            right), a strategy's name, or a path from ``einsum_path``.

    Raises:
        ShapeError: when letters and shapes do not fit.
    """
    terms, result, xs = _parse(subscripts, operands)
    d = dtypes.promote(*[(x.dtype, x.weak_type) for x in xs])[0]
    pairs = [_diagonals(t, as_type(x, d)) for t, x in zip(terms, xs)]
    for step in _path([t for t, _ in pairs], result, [x for _, x in pairs], optimize):
        if len(step) == 1:
            continue
        chosen = [pairs[i] for i in step]
        pairs = [q for i, q in enumerate(pairs) if i not in step]
        (t, x), rest = chosen[0], chosen[1:]
        for n, (tb, b) in enumerate(rest):
            keep = set(result).union(*[set(q) for q, _ in pairs], *[set(q) for q, _ in rest[n + 1 :]])
            t, x = _contract_pair(t, x, tb, b, keep, preferred_element_type)
        pairs.append((t, x))
    ((t, x),) = pairs
    t, x = _sum_letters(t, x, set(result))
    x = x if preferred_element_type is None else as_type(x, preferred_element_type)
    return x if t == result else shaping.transpose(x, tuple(t.index(ch) for ch in result))


def einsum_path(subscripts: Any, /, *operands: Any, optimize: Any = "greedy") -> Any:
    """The order of contraction and a description, as ``numpy.einsum_path``."""
    terms, result, xs = _parse(subscripts, operands)
    views = [np.broadcast_to(np.float32(0), x.shape) for x in xs]
    return np.einsum_path(",".join(terms) + "->" + result, *views, optimize=optimize)


