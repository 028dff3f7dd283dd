"""The Fourier transform: by kernels of vectors (``fft_vectors``), or NumPy's own loops over rows that lie anywhere in memory."""

from __future__ import annotations

import numpy as np

from fx import dtypes
from fx.ir import Eqn

from ..cost import chunk_for, halvings
from ..loop_builder import KernelBuilder
from ..loop_ir import Kernel, Ty, minimum
from ..pocketfft import loop, shim
from .fft_vectors import in_vectors, real_in_vectors
from .loops import coalesce
from .registry import Foreign, LowerContext, Operand, lowers
from .types import ty_of

__all__: list[str] = []

# Of NumPy's loops, moving included: 9 to 22 were measured for lengths of 16 to 4096.  Fewer, so that work of ten microseconds (64 rows
# of 64) is cut in two, which gains (Zen 4: 4.8 instead of 8 us); at 2 it was six pieces, and four large rows came apart (29 instead of 18 us).
_FLOPS_A_NS = 5.0


def _kernel(real: Ty, source_words: int, target_words: int, inverse: bool) -> Kernel:
    """Runs of rows in two dimensions, outer and inner; strides count bytes, offsets numbers of the real type."""
    b = KernelBuilder("fft")
    x, out = b.pointer("x", real), b.pointer("out", real)
    call, function, data = b.integer("call"), b.integer("loop"), b.integer("data")
    n, m, length, inner = (b.integer(name) for name in ("n", "m", "length", "inner"))
    strides = {side: [b.integer(f"{side}_{k}") for k in ("outer", "inner", "step")] for side in ("x", "out")}
    factor = b.alloc("factor", real, 1)
    one = length.cast(real) * 0.0 + 1.0
    b.store(factor, 0, one / length.cast(real) if inverse else one)
    row = b.var("row", b.lo)
    with b.while_(row < b.hi):
        o, i = b.let("o", row // inner), b.let("i", row % inner)
        count = b.let("count", minimum(inner - i, b.hi - row))
        starts = {side: o * s[0] + i * s[1] for side, s in strides.items()}
        sizes = {"x": real.itemsize * source_words, "out": real.itemsize * target_words}
        bytes_ = {side: [s * sizes[side] for s in strides[side][1:]] for side in strides}
        b.call(
            call, function, data, b.place(x, starts["x"] * source_words), b.place(factor),
            b.place(out, starts["out"] * target_words), count, n, m, bytes_["x"][0], bytes_["out"][0], bytes_["x"][1],
            bytes_["out"][1],
        )  # fmt: skip
        b.assign(row, row + count)
    return b.build()


def _rows(x: Operand, out: Operand, axis: int) -> list[tuple[int, ...]] | None:
    """The dimensions beside ``axis`` as (size, stride, stride of the result), at most two; None if there are more."""
    dims = [(s, a, c) for d, (s, a, c) in enumerate(zip(x.shape, x.strides, out.strides)) if d != axis]
    merged = coalesce(dims)
    return [*[(1, 0, 0)] * (2 - len(merged)), *merged] if len(merged) <= 2 else None


def _name(kind: str, length: int) -> str:
    """The ufunc's name."""
    return kind if kind != "rfft" else "rfft_n_odd" if length % 2 else "rfft_n_even"


@lowers("fft")
def _fft(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    (x,), (out,) = ins, outs
    kind, length, axis = eqn.params["kind"], eqn.params["length"], eqn.params["axis"]
    complex_: np.dtype = out.dtype if kind == "rfft" else x.dtype
    rows = _rows(x, out, axis)
    if rows is None:
        x = ctx.contiguous(x)
        rows = _rows(x, out, axis)
        assert rows is not None
    by_vectors = in_vectors if kind in ("fft", "ifft") else real_in_vectors
    if by_vectors(ctx, x, out, axis, rows, kind in ("ifft", "irfft")):
        return
    found = loop(_name(kind, length), complex_)
    if found is None:
        ctx.call_reference(eqn, ins, outs, "the loops of numpy.fft were not found")
        return
    (outer, *outer_strides), (inner, *inner_strides) = rows
    real, words = ty_of(dtypes.real_dtype(complex_)), (1 if kind == "rfft" else 2, 1 if kind == "irfft" else 2)
    inverse = kind in ("ifft", "irfft")
    kernel = ctx.kernel(("fft", real, *words, inverse), lambda: _kernel(real, *words, inverse))
    args = (
        x, out, *map(Foreign, (shim(), found.address, found.data)), x.shape[axis], out.shape[axis], length, inner, outer_strides[0],
        inner_strides[0], x.strides[axis], outer_strides[1], inner_strides[1], out.strides[axis],
    )  # fmt: skip
    flops = 5 * length * halvings(length) // (1 if min(words) == 2 else 2)
    total = outer * inner
    ctx.step(
        kernel, args, total, chunk_for(total, flops / _FLOPS_A_NS), f"fft ({found.name} of NumPy's pocketfft)",
        flops=flops * total, nbytes=x.size * x.dtype.itemsize + out.size * out.dtype.itemsize, reads=(x,),
        writes=outs,
    )  # fmt: skip
