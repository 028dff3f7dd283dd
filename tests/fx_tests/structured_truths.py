"""Naive NumPy truths for products, convolutions, windows, indexing and sorting: one loop per formula, no cleverness."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np


def dot_general(x, y, dimension_numbers):
    """The sum over contracted index pairs, written with one letter per index."""
    (lc, rc), (lb, rb) = dimension_numbers
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    xs, ys = [""] * x.ndim, [""] * y.ndim
    for i, j in [*zip(lb, rb), *zip(lc, rc)]:
        xs[i] = ys[j] = next(letters)
    xs, ys = [c or next(letters) for c in xs], [c or next(letters) for c in ys]
    free = [c for i, c in enumerate(xs) if i not in (*lc, *lb)] + [c for i, c in enumerate(ys) if i not in (*rc, *rb)]
    out = "".join([xs[i] for i in lb] + free)
    return np.einsum(f"{''.join(xs)},{''.join(ys)}->{out}", x, y)


def element(position, size, low, dilation):
    """The element at a position of a padded and dilated axis, or None for a hole."""
    j, hole = divmod(position - low, dilation)
    return j if hole == 0 and 0 <= j < size else None


def window_count(size, window, stride, padding, base, dilation):
    """How many windows start inside."""
    padded = ((size - 1) * base + 1 if size else 0) + sum(padding)
    reach = (window - 1) * dilation + 1 if window else 0
    return len(range(0, max(padded, 0) - reach + 1, stride))


def conv(x, w, strides, padding, lhs_dilation, rhs_dilation, lhs_spec, rhs_spec, out_spec, features, batches):
    """Every output element as its sum over input features and taps."""
    x, w = x.transpose(lhs_spec), w.transpose(rhs_spec)
    (n, _, *sizes), (o, i, *taps) = x.shape, w.shape
    geometry = list(zip(sizes, taps, strides, padding, lhs_dilation, rhs_dilation))
    out = np.zeros((n // batches, o, *(window_count(*g) for g in geometry)), np.result_type(x, w))
    for b, f, *place in np.ndindex(*out.shape):
        group = f // (o // (features * batches))
        example, first = (b, group * i) if features > 1 else (group * out.shape[0] + b, 0)
        for tap in np.ndindex(*taps):
            at = [
                element(p * s + t * rd, size, lo, ld)
                for p, t, (size, _, s, (lo, _), ld, rd) in zip(place, tap, geometry)
            ]
            if None not in at:
                for c in range(i):
                    out[(b, f, *place)] += x[(example, first + c, *at)] * w[(f, c, *tap)]
    return out.transpose(np.argsort(out_spec))


def windows(shape, window_dimensions, window_strides, padding, base_dilation, window_dilation):
    """(window, tap number, element index) for every tap that is no hole; and the shape of the result."""
    geometry = list(zip(shape, window_dimensions, window_strides, padding, base_dilation, window_dilation))
    counts = tuple(window_count(*g) for g in geometry)
    met = []
    for place in np.ndindex(*counts):
        for number, tap in enumerate(np.ndindex(*window_dimensions)):
            at = tuple(
                element(p * s + t * wd, n, lo, bd) for p, t, (n, _, s, (lo, _), bd, wd) in zip(place, tap, geometry)
            )
            if None not in at:
                met.append((place, number, at))
    return counts, met


def reduce_window(x, op, identity, *window):
    counts, met = windows(x.shape, *window)
    out = np.full(counts, identity, x.dtype)
    for place, _, at in met:
        out[place] = op(out[place], x[at])
    return out


def reduce_window_arg(x, better, *window):
    """The first tap whose element beats all before it; NaN beats every number."""
    counts, met = windows(x.shape, *window)
    out, best = np.zeros(counts, np.int32), {}
    for place, number, at in met:
        v = x[at]
        if place not in best or better(v, best[place]) or (v != v and best[place] == best[place]):
            best[place], out[place] = v, number
    return out


def window_select(x, taps, *window):
    counts, met = windows(x.shape, *window)
    out = np.zeros(counts, x.dtype)
    for place, number, at in met:
        if taps[place] == number:
            out[place] = x[at]
    return out


def window_scatter_add(ct, taps, operand_shape, *window):
    out = np.zeros(operand_shape, ct.dtype)
    for place, number, at in windows(operand_shape, *window)[1]:
        if taps[place] == number:
            out[at] += ct[place]
    return out


def _starts(shape, sizes, indices, numbers, mode):
    """For each index vector: its place in the indices, and where its window begins (None: outside)."""
    _, _, index_map, batching, indices_batching = numbers
    for outer in np.ndindex(*indices.shape[:-1]):
        start = [0] * len(shape)
        for k, d in enumerate(index_map):
            start[d] = int(indices[(*outer, k)])
        if mode == "clip":
            start = [min(max(s, 0), n - size) for s, n, size in zip(start, shape, sizes)]
        elif any(not 0 <= s <= n - size for s, n, size in zip(start, shape, sizes)):
            start = None
        if start is not None:
            for d, axis in zip(batching, indices_batching):
                start[d] = outer[axis]
        yield outer, start


def _place(outer, offset, window_dims, ndim):
    """The index into the result (gather) or the updates (scatter) from its outer and its window part."""
    inside, outside = dict(zip(window_dims, offset)), iter(outer)
    return tuple(inside[d] if d in inside else next(outside) for d in range(ndim))


def gather(x, indices, numbers, sizes, mode, fill):
    offset_dims, collapsed, _, batching, _ = numbers
    kept = [d for d in range(x.ndim) if d not in (*collapsed, *batching)]
    ndim = len(offset_dims) + indices.ndim - 1
    shape = _place(indices.shape[:-1], [sizes[d] for d in kept], offset_dims, ndim)
    out = np.full(shape, fill, x.dtype)
    for outer, start in _starts(x.shape, sizes, indices, numbers, mode):
        for offset in np.ndindex(*(sizes[d] for d in kept)):
            if start is not None:
                at = list(start)
                for d, o in zip(kept, offset):
                    at[d] += o
                out[_place(outer, offset, offset_dims, ndim)] = x[tuple(at)]
    return out


def scatter(x, indices, updates, numbers, mode, op):
    """Updates in row-major order of the updates array."""
    window_dims, inserted, _, batching, _ = numbers
    kept = [d for d in range(x.ndim) if d not in (*inserted, *batching)]
    sizes = [1] * x.ndim
    for d, u in zip(kept, window_dims):
        sizes[d] = updates.shape[u]
    out, starts = x.copy(), dict(_starts(x.shape, sizes, indices, numbers, mode))
    for place in np.ndindex(*updates.shape):
        start = starts[tuple(p for d, p in enumerate(place) if d not in window_dims)]
        if start is not None:
            at = list(start)
            for d, u in zip(kept, window_dims):
                at[d] += place[u]
            out[tuple(at)] = op(out[tuple(at)], updates[place])
    return out


def dynamic_region(shape, starts, sizes):
    return tuple(slice(b, b + k) for b, k in ((min(max(int(s), 0), n - k), k) for s, n, k in zip(starts, shape, sizes)))


def _before(a, b):
    """-1, 0 or 1: how two numbers compare, NaN last."""
    if a != a or b != b:
        return int(a != a) - int(b != b)
    return int(a > b) - int(a < b)


def _order(keys, sign=1):
    """Positions ordered by the first key, then the next ...; equal ones stay in order."""

    def compare(i, j):
        return next((sign * c for c in (_before(k[i], k[j]) for k in keys) if c), 0)

    return sorted(range(len(keys[0])), key=functools.cmp_to_key(compare))


def sort(operands, dimension, num_keys):
    outs = [np.empty_like(x) for x in operands]
    for place in np.ndindex(*(n for d, n in enumerate(operands[0].shape) if d != dimension)):
        lane = (*place[:dimension], slice(None), *place[dimension:])
        order = _order([x[lane] for x in operands[:num_keys]])
        for out, x in zip(outs, operands):
            out[lane] = x[lane][order]
    return outs


def top_k(x, k):
    values, indices = np.empty((*x.shape[:-1], k), x.dtype), np.empty((*x.shape[:-1], k), np.int32)
    for place in np.ndindex(*x.shape[:-1]):
        order = _order([x[place]], sign=-1)[:k]
        values[place], indices[place] = x[place][order], order
    return values, indices


def subsets(n):
    """Every non-empty set of positions below ``n``."""
    return [s for r in range(1, n + 1) for s in itertools.combinations(range(n), r)]


def size(shape):
    return math.prod(shape)
