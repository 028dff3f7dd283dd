"""Sort, top_k and order_statistic: which of the kernels in ``kernels/sort.py`` sorts which rows.

The sorted dimension is made the innermost one of dense memory, by a copy where it is not.  Then

* rows that are not too long run side by side in vector lanes, or in all lanes where there are too few of them (unless
  positions go with keys of 64 bits),
* other rows run by partitions, where the machine compresses vectors and the key is all there is to an element: a few
  long ones cut into buckets first,
* a few long rows run by blocks, a fixed number of steps for each digit of the key,
* all others run whole, each by one thread.

The first few elements (``top_k``) are kept in a list while the row is looked through; some hundreds of a long row are sorted
behind a limit that a sample of the row gives.

Every result is that of a stable sort, so ``is_stable`` changes nothing, and none shows where a kernel's range was cut.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from fx import dtypes
from fx.errors import LoweringError
from fx.ir import Eqn
from fx.sizes import late

from ..cost import chunk_for, halvings
from ..kernels import sort_blocks, sort_buckets, sort_restore
from ..kernels.sort import SELECT_MOST, across_kernel, lanes_kernel, places_for, rows_kernel, select_kernel
from ..kernels.sort_network import padded
from ..kernels.sort_ranks import MOST_RANKS, picked_kernel, ranks_kernel
from ..kernels.sort_records import SortSpec, Source
from ..kernels.sort_top import rank_of, sampled, top_rows_kernel
from .copies import copy_strided
from .loops import dense_strides, word_type
from .registry import Address, LowerContext, Operand, lowers
from .types import ty_of

# Bits of a record -> elements of the longest rows that are sorted side by side; those with positions by bits of a key
_LANES_LONGEST = {8: 1 << 14, 16: 1 << 14, 32: 1 << 14, 64: 1 << 13}
_LANES_LONGEST_INDEXED = {8: 128, 16: 512, 32: 2048, 64: 1024}
# The same where there are not rows for half of the lanes: each is sorted in all lanes
_ALONE_LONGEST = {8: 1 << 12, 16: 1 << 15, 32: 1 << 14, 64: 1 << 14}
_ALONE_LONGEST_INDEXED = {8: 64, 16: 128, 32: 2048, 64: 0}
# The same, side by side and alone, where longer rows are sorted by partitions
_LANES_LONGEST_BESIDE = {32: 1 << 9, 64: 1 << 12}
_ALONE_LONGEST_BESIDE = {32: 1 << 12, 64: 1 << 12}
_SCALAR_LONGEST = 96  # the same without vectors
_MOST_LANES = 16  # that rows are sorted in
_FEW_LANES = 4  # fewer than these are not worth it
_LARGE_DIGIT_FROM = 1 << 14  # rows from this length on are sorted by 11 bits at a time, shorter ones by 8
_BLOCKS_FROM = 1 << 16  # rows from this length on are sorted by blocks, if there are few of them
_BLOCK = 1 << 14  # elements of a block, at least
_MOST_BLOCKS = 64
_FEW_ROWS = 16
_NS_PER_ELEMENT = 10.0
_NS_PER_PARTED_ELEMENT = 4.0
_NS_PER_RANKED_ELEMENT = 0.6
_LIMITED_FROM = 1 << 11  # rows from this length on have a limit found for their first elements, if these are
_LIMITED_PART = 16  # no more than one in so many
_BUCKETS_FROM = 1 << 14  # rows from this length on are cut into buckets, if there are few of them
_BUCKET = 1 << 12  # elements of a bucket, at least

# ------------------------------------------------------------------------------------ keys


def _infinity(dtype: np.dtype) -> int:
    bits = np.array([np.inf]).astype(dtypes.real_dtype(dtype))
    return int(bits.view(f"u{bits.itemsize}")[0])


def _sources(dtype: np.dtype, operand: int, descending: bool = False) -> list[Source]:
    """The components of an operand's key, most significant first.

    Complex numbers compare as in NumPy: by how many parts are NaN, then the real, then the imaginary part.
    """
    if dtypes.is_complex(dtype):
        bits, infinity = 4 * dtype.itemsize, _infinity(dtype)
        parts = [Source(operand, part, "f", bits, infinity) for part in ("re", "im")]
        return [Source(operand, "nan", "u", 8, infinity), *parts]
    kind = "f" if dtypes.is_float(dtype) else "i" if dtype.kind == "i" else "u"
    infinity = _infinity(dtype) if kind == "f" else 0
    return [Source(operand, "all", kind, 8 * dtype.itemsize, infinity, descending)]


def _words(dtype: np.dtype) -> tuple[int, int]:
    word, words = word_type(dtype)
    return word.bits, words


def _sort_spec(operands: tuple[Operand, ...], num_keys: int, n: int) -> SortSpec:
    sources = tuple(s for k, x in enumerate(operands[:num_keys]) for s in _sources(x.dtype, k))
    words = tuple(_words(x.dtype) for x in operands)
    carry = "index"
    if len(sources) == 1 and len(operands) == 1:
        carry = "none"
    elif len(sources) == 1 and len(operands) == 2 and words[1] in ((8, 1), (16, 1), (32, 1)):
        carry = "payload"
    return SortSpec(words, sources, carry, 11 if n >= _LARGE_DIGIT_FROM else 8)


# ------------------------------------------------------------------------------------ rows


def _innermost(x: Operand, dimension: int) -> Operand:
    """The same array with ``dimension`` moved to the end."""
    order = [d for d in range(len(x.shape)) if d != dimension] + [dimension]
    return Operand(x.buffer, tuple(x.shape[d] for d in order), tuple(x.strides[d] for d in order), x.offset, x.dtype)


def _dense_scratch(ctx: LowerContext, like: Operand) -> Operand:
    address = _scratch(ctx, like.size * like.dtype.itemsize)
    return Operand(address.buffer, like.shape, dense_strides(like.shape), 0, like.dtype)


def _scratch(ctx: LowerContext, nbytes: int, per_worker: bool = False) -> Address:
    return ctx.scratch(-(-nbytes // 64) * 64, per_worker)


def _rows_in(ctx: LowerContext, x: Operand, name: str) -> Operand:
    if x.dense:
        return x
    rows = _dense_scratch(ctx, x)
    copy_strided(ctx, x, rows, f"{name} (rows)")
    return rows


@lowers("sort")
def _sort(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    dimension = eqn.params["dimension"]
    if not outs[0].size:
        return
    n = outs[0].shape[dimension]
    if n == 1:
        for x, out in zip(ins, outs):
            copy_strided(ctx, x, out, "sort (of one)")
        return
    xs = tuple(_rows_in(ctx, _innermost(x, dimension), "sort") for x in ins)
    targets = [_innermost(out, dimension) for out in outs]
    results = tuple(t if t.dense else _dense_scratch(ctx, t) for t in targets)
    _sort_rows(ctx, "sort", _sort_spec(xs, eqn.params["num_keys"], n), xs, results, n, n)
    for result, target in zip(results, targets):
        if result is not target:
            copy_strided(ctx, result, target, "sort (back)")


@lowers("top_k")
def _top_k(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    if not outs[0].size:
        return
    x = _rows_in(ctx, ins[0], "top_k")
    n, k = x.shape[-1], outs[0].shape[-1]
    digit = 11 if n >= _LARGE_DIGIT_FROM else 8
    spec = SortSpec((_words(x.dtype),), tuple(_sources(x.dtype, 0, descending=True)), "index", digit, top=True)
    if k <= SELECT_MOST:
        places = places_for(k)
        kernel = ctx.kernel(("top_k_select", spec, places), lambda: select_kernel(spec, places))
        rows = x.size // n
        chunk = chunk_for(rows, n + 20.0 * k)
        ctx.step(
            kernel, (x, *outs, n, k), rows, chunk, "top_k", nbytes=x.size * x.dtype.itemsize, reads=(x,), writes=outs
        )
    elif n >= _LIMITED_FROM and k <= n // _LIMITED_PART:
        _top_limited(ctx, replace(spec, digit=8), x, outs, n, k)
    else:
        _sort_rows(ctx, "top_k", spec, (x,), outs, n, k)


def _top_limited(ctx: LowerContext, spec: SortSpec, x: Operand, outs: tuple[Operand, ...], n: int, k: int) -> None:
    rows = x.size // n
    samples, each = late(sampled, n), -(-2 * n // 64) * 64
    records = _records(ctx, spec, each, per_worker=True)
    kernel = ctx.kernel(("top_k_limited", spec), lambda: top_rows_kernel(spec))
    chunk = chunk_for(rows, n + _NS_PER_ELEMENT * (samples + 3.0 * k))
    ctx.step(
        kernel, (x, *outs, *records, n, k, samples, late(rank_of, n, k), each, 0), rows, chunk, "top_k",
        nbytes=x.size * x.dtype.itemsize, reads=(x,), writes=(*outs, *records),
    )  # fmt: skip


@lowers("order_statistic")
def _order_statistic(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    (out,) = outs
    if not out.size:
        return
    x, ks = (_rows_in(ctx, v, "order_statistic") for v in ins)
    n, m, position = x.shape[-1], out.shape[-1], ty_of(ks.dtype)
    rows, spec = x.size // n, _sort_spec((x,), 1, n)
    lanes = _lanes(ctx, spec)
    beside = n <= _longest_in_lanes(spec, lanes, lanes >= _FEW_LANES and 2 * rows < lanes, _by_partitions(ctx, spec))
    if beside or not _by_partitions(ctx, spec) or m > MOST_RANKS:
        if n > 1:
            ordered = _dense_scratch(ctx, x)
            _sort_rows(ctx, "order_statistic", spec, (x,), (ordered,), n, n)
            x = ordered
        word, _ = word_type(x.dtype)
        kernel = ctx.kernel(("order_statistic_pick", word, position), lambda: picked_kernel(word, position))
        chunk = chunk_for(rows, m * 1.0)
        ctx.step(kernel, (x, ks, out, n, m), rows, chunk, "order_statistic", reads=(x, ks), writes=outs)
        return
    lanes = ctx.host.lanes(spec.record)
    each = -(-n // lanes) * lanes
    home, away = (_scratch(ctx, each * spec.record.itemsize, per_worker=True) for _ in range(2))
    kernel = ctx.kernel(("order_statistic", spec, position, lanes), lambda: ranks_kernel(spec, position, lanes))
    chunk = chunk_for(rows, n * _NS_PER_RANKED_ELEMENT)
    ctx.step(
        kernel, (x, ks, out, home, away, n, m, each), rows, chunk, "order_statistic", nbytes=x.size * x.dtype.itemsize,
        reads=(x, ks), writes=(out, home, away),
    )  # fmt: skip


# ------------------------------------------------------------------------------------ choice of kernel


def _sort_rows(
    ctx: LowerContext, name: str, spec: SortSpec, xs: tuple[Operand, ...], outs: tuple[Operand, ...], n: int, take: int
) -> None:
    """Sorts rows of ``n`` elements in dense memory and writes the first ``take`` results of each."""
    if n >= 1 << 32:
        raise LoweringError(
            f"{name}: {n} elements in a row; positions have 32 bits, so there may be at most {2**32 - 1}"
        )
    rows = xs[0].size // n
    one_key = len(spec.sources) == 1
    lanes = _lanes(ctx, spec)
    alone = lanes >= _FEW_LANES and 2 * rows < lanes
    partitions = _by_partitions(ctx, spec)
    if one_key and n <= _longest_in_lanes(spec, lanes, alone, partitions):
        (_sort_across if alone else _sort_lanes)(ctx, name, spec, xs, outs, n, take)
    elif partitions:
        cut = n >= _BUCKETS_FROM and rows <= _FEW_ROWS
        (_sort_buckets if cut else _sort_quick)(ctx, name, spec, xs, outs, n)
    elif one_key and n >= _BLOCKS_FROM and rows <= _FEW_ROWS:
        _sort_blocks(ctx, name, spec, xs, outs, n, take)
    else:
        _sort_whole(ctx, name, spec, xs, outs, n, take)


def _lanes(ctx: LowerContext, spec: SortSpec) -> int:
    return min(ctx.host.lanes(spec.record), _MOST_LANES)


def _by_partitions(ctx: LowerContext, spec: SortSpec) -> bool:
    """Whether partitions of vectors can sort: they are not stable."""
    return ctx.host.arithmetic.compress and spec.carry == "none" and spec.record.bits >= 32


def _longest_in_lanes(spec: SortSpec, lanes: int, alone: bool, partitions: bool) -> int:
    """How long rows may be to be sorted by a network: side by side, or each alone in all lanes."""
    if lanes < _FEW_LANES:
        return 0 if spec.split else _SCALAR_LONGEST
    if partitions:
        return (_ALONE_LONGEST_BESIDE if alone else _LANES_LONGEST_BESIDE)[spec.sources[0].bits]
    plain, indexed = (_ALONE_LONGEST, _ALONE_LONGEST_INDEXED) if alone else (_LANES_LONGEST, _LANES_LONGEST_INDEXED)
    return (plain if spec.carry == "none" else indexed)[spec.sources[0].bits]


def _sort_lanes(
    ctx: LowerContext, name: str, spec: SortSpec, xs: tuple[Operand, ...], outs: tuple[Operand, ...], n: int, take: int
) -> None:
    spec, lanes = _carrying_positions(spec), _lanes(ctx, spec)
    kernel = ctx.kernel(("sort_lanes", spec, lanes), lambda: lanes_kernel(spec, lanes))
    rows = xs[0].size // n
    total = -(-rows // lanes)
    size = late(padded, n)
    vectors = tuple(_scratch(ctx, size * lanes * spec.record.itemsize, per_worker=True) for _ in range(1 + spec.split))
    cost = size * halvings(size) ** 2 / 8 * (4 if spec.split else 1)
    ctx.step(
        kernel, (*xs, *outs, *vectors, n, take, size, rows), total, chunk_for(total, cost), name, reads=xs,
        writes=(*outs, *vectors),
    )  # fmt: skip


def _sort_across(
    ctx: LowerContext, name: str, spec: SortSpec, xs: tuple[Operand, ...], outs: tuple[Operand, ...], n: int, take: int
) -> None:
    spec, lanes = _carrying_positions(spec), _lanes(ctx, spec)
    kernel = ctx.kernel(("sort_across", spec, lanes), lambda: across_kernel(spec, lanes))
    rows = xs[0].size // n
    size = late(padded, -(-n // lanes), lanes)
    records = _scratch(ctx, 2 * size * lanes * spec.record.itemsize, per_worker=True)
    chunk = chunk_for(rows, size * halvings(n) ** 2 / 8)
    ctx.step(kernel, (*xs, *outs, records, n, take, size), rows, chunk, name, reads=xs, writes=(*outs, records))


def _carrying_positions(spec: SortSpec) -> SortSpec:
    """The networks carry positions rather than payloads."""
    return replace(spec, carry="index") if spec.carry == "payload" else spec


def _records(ctx: LowerContext, spec: SortSpec, count: int, per_worker: bool = False) -> tuple[Address, ...]:
    main = _scratch(ctx, count * spec.record.itemsize, per_worker)
    return (main, _scratch(ctx, count * 4, per_worker)) if spec.split else (main,)


def _sort_whole(
    ctx: LowerContext, name: str, spec: SortSpec, xs: tuple[Operand, ...], outs: tuple[Operand, ...], n: int, take: int
) -> None:
    rows = xs[0].size // n
    each = -(-2 * n // 64) * 64
    by_row = rows <= _FEW_ROWS
    records = _records(ctx, spec, each * (rows if by_row else 1), per_worker=not by_row)
    kernel = ctx.kernel(("sort_rows", spec), lambda: rows_kernel(spec))
    args: tuple[Any, ...] = (*xs, *outs, *records, n, take, 0 if by_row else each, each if by_row else 0)
    chunk = chunk_for(rows, n * _NS_PER_ELEMENT * len(spec.sources))
    ctx.step(kernel, args, rows, chunk, name, reads=xs, writes=(*outs, *records))


def _sort_blocks(
    ctx: LowerContext, name: str, spec: SortSpec, xs: tuple[Operand, ...], outs: tuple[Operand, ...], n: int, take: int
) -> None:
    rows = xs[0].size // n
    blocks = min(_MOST_BLOCKS, n // _BLOCK)
    size = -(-n // blocks)
    total = rows * blocks
    records = _records(ctx, spec, 2 * rows * n)
    counts = _scratch(ctx, 4 * total << spec.digit)
    varying, special = _scratch(ctx, 8 * total), _scratch(ctx, 8 * total)
    geometry = (n, rows * n, blocks, size)
    chunk = chunk_for(total, size * 2.0)

    def step(kind: str, args: tuple, over: int, chunk: int, writes: tuple) -> None:
        make = getattr(sort_blocks, f"{kind}_kernel")
        kernel = ctx.kernel((f"sort_{kind}", spec), lambda: make(spec))
        ctx.step(kernel, args, over, chunk, f"{name} ({kind})", reads=xs, writes=writes)

    step("build", (*xs, *records, special, varying, *geometry), total, chunk, (*records, special, varying))
    passes = spec.passes(spec.sources[0])
    for q in range(passes):
        step("count", (*records, counts, varying, *geometry, q), total, chunk, (counts,))
        step("scan", (counts, varying, *geometry, q), rows, 1, (counts,))
        step("scatter", (*records, counts, varying, *geometry, q), total, chunk, records)
    step("finish", (*xs, *outs, *records, varying, *geometry, passes, take), total, chunk, outs)
    _restore(ctx, name, spec, xs, outs, special, n, blocks)


# ------------------------------------------------------------------------------------ by partitions


def _sort_quick(
    ctx: LowerContext, name: str, spec: SortSpec, xs: tuple[Operand, ...], outs: tuple[Operand, ...], n: int
) -> None:
    lanes, rows = ctx.host.lanes(spec.record), xs[0].size // n
    kernel = ctx.kernel(("sort_quick", spec, lanes), lambda: sort_buckets.quick_rows_kernel(spec, lanes))
    each = -(-n // lanes) * lanes
    away, special = _scratch(ctx, each * spec.record.itemsize, per_worker=True), _scratch(ctx, 8 * rows)
    chunk = chunk_for(rows, n * _NS_PER_PARTED_ELEMENT)
    ctx.step(kernel, (*xs, *outs, away, special, n, each), rows, chunk, name, reads=xs, writes=(*outs, away, special))
    _restore(ctx, name, spec, xs, outs, special, n, 1)


def _sort_buckets(
    ctx: LowerContext, name: str, spec: SortSpec, xs: tuple[Operand, ...], outs: tuple[Operand, ...], n: int
) -> None:
    lanes, rows, width = ctx.host.lanes(spec.record), xs[0].size // n, spec.record.itemsize
    size = ctx.host.l1_bytes // 3 * 2 // width  # with the half of it that is away
    blocks, depth = -(-n // size), late(_depth, n)
    buckets = 1 << depth
    home, away = (_scratch(ctx, rows * n * width) for _ in range(2))
    bounds = _scratch(ctx, rows * sort_buckets.MOST_BUCKETS * width)
    noted, special = _scratch(ctx, 4 * rows * blocks * (buckets + 1)), _scratch(ctx, 8 * rows * blocks)
    geometry = (n, blocks, size, depth)

    def step(kind: str, args: tuple, over: int, ns: float, writes: tuple) -> None:
        make = getattr(sort_buckets, f"{kind}_kernel")
        kernel = ctx.kernel((f"sort_{kind}", spec, lanes), lambda: make(spec, lanes))
        ctx.step(kernel, args, over, chunk_for(over, ns), f"{name} ({kind})", reads=xs, writes=writes)

    step("sample", (*xs, bounds, n, buckets, late(_samples, buckets)), rows, 1e4, (bounds,))
    written = (home, away, noted, special)
    step("split", (*xs, home, away, bounds, noted, special, *geometry), rows * blocks, size * 0.25 * depth, written)
    each = n * _NS_PER_PARTED_ELEMENT / buckets
    step("bucket", (*xs, *outs, home, away, bounds, noted, *geometry), rows * buckets, each, (*outs, away))
    _restore(ctx, name, spec, xs, outs, special, n, blocks)


def _depth(n: int) -> int:
    """The logarithm of the number of buckets."""
    return min(n // _BUCKET, sort_buckets.MOST_BUCKETS).bit_length() - 1


def _samples(buckets: int) -> int:
    """How many elements of each bucket bound it: few buckets have to be alike."""
    return min(max(sort_buckets.MOST_SAMPLES // sort_buckets.MOST_BUCKETS, 256 // buckets), 32)


def _restore(
    ctx: LowerContext, name: str, spec: SortSpec, xs: tuple[Operand, ...], outs: tuple[Operand, ...], special: Address,
    n: int, blocks: int,
) -> None:  # fmt: skip
    if not spec.restore:
        return
    rows, parts = xs[0].size // n, late(_restored_parts, n)
    size = -(-n // parts)
    counts, total = _scratch(ctx, 24 * rows * parts), rows * parts
    steps: tuple[tuple[Any, ...], ...] = (
        (sort_restore.restore_count_kernel, (*xs, special, counts, n, blocks, parts, size), xs, (counts,)),
        (sort_restore.restore_kernel, (*xs, *outs, counts, n, parts, size), (*xs, counts), outs),
    )
    for make, args, reads, writes in steps:
        kind = make.__name__.removesuffix("_kernel")
        kernel = ctx.kernel((f"sort_{kind}", spec), functools.partial(make, spec))
        ctx.step(kernel, args, total, chunk_for(total, size * 1.0), f"{name} ({kind})", reads=reads, writes=writes)


def _restored_parts(n: int) -> int:
    """Into how many parts to cut a row whose zeros and NaNs are written again."""
    return max(1, min(_MOST_BLOCKS, n // _BLOCK))
