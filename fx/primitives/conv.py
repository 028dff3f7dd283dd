"""Convolution: ``conv_general_dilated``, any number of spatial dimensions, any layout.

In the layout (N, C, spatial), with stride s, padding lo, lhs dilation a (as holes in x) and rhs dilation b::

    out[n, o, p] = sum over c, k of  x[n, c, p*s + k*b - lo] * w[o, c, k]

(no reversal of the kernel: what signal processing calls correlation).  ``feature_group_count`` G cuts C and O into
G groups that do not mix; ``batch_group_count`` B cuts N and O into B groups, so that N/B results remain, each
output feature reading the batch group that it belongs to.  Not more than one of them exceeds 1.

The operation is bilinear, and each of its transposes is a convolution again:

    dx = conv(ct, w reversed, O and I exchanged)      lhs_dilation = s, window_strides = a
    dw = conv(x with C as batch, ct with N as input)  rhs_dilation = s, window_strides = b

where a feature group becomes a batch group in dw, and a batch group a feature group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..errors import AxisError, ShapeError
from ..ir import Aval
from ..primitive import Linear, Primitive
from ..trace import aval_of, bind
from .checks import NUMBER, check_dtype, check_same_dtypes
from .helpers import Value, def_jvp_each, full, move_batch, quiet
from .linalg import accumulation_dtype, as_dtype, check_precision, check_preferred_element_type
from .shaping import reshape, rev
from .window_geometry import (
    Pads,
    dilated_size,
    pad_and_dilate,
    plain_pads,
    plain_sizes,
    resolve_padding,
    transposed_pads,
    window_counts,
)

__all__ = [
    "ConvDimensionNumbers",
    "conv_dimension_numbers",
    "conv_general_dilated",
    "conv_general_dilated_p",
]

Dims = tuple[int, ...]
_PATCH_BYTES = 64 << 20  # the reference copies patches of at most this size at once


class ConvDimensionNumbers(NamedTuple):
    """Which dimension of each array is what.

    Attributes:
        lhs_spec: positions of (batch N, feature C, spatial dimensions in order) in the input.
        rhs_spec: positions of (output feature O, input feature I, spatial dimensions) in the kernel.
        out_spec: positions of (batch N, feature C, spatial dimensions) in the result.
    """

    lhs_spec: Dims
    rhs_spec: Dims
    out_spec: Dims


class _Geometry(NamedTuple):
    """The sizes of a convolution, read through its specs."""

    sizes: Dims  # spatial, of the input
    windows: Dims  # spatial, of the kernel
    counts: Dims  # spatial, of the result
    args: tuple[Dims, Pads, Dims, Dims]  # strides, padding, lhs dilation, rhs dilation


def _geometry(
    lhs: Dims, rhs: Dims, window_strides: Dims, padding: Pads, lhs_dilation: Dims, rhs_dilation: Dims,
    lhs_spec: Dims, rhs_spec: Dims, **_: Any,
) -> _Geometry:  # fmt: skip
    sizes, windows = tuple(lhs[d] for d in lhs_spec[2:]), tuple(rhs[d] for d in rhs_spec[2:])
    args = (window_strides, padding, lhs_dilation, rhs_dilation)
    return _Geometry(sizes, windows, window_counts(sizes, windows, *args), args)


# ----------------------------------------------------------------------------------- the primitive

conv_general_dilated_p = Primitive("conv_general_dilated")


def _check_groups(lhs: Aval, rhs: Aval, lhs_spec: Dims, rhs_spec: Dims, features: int, batches: int) -> None:
    what = "conv_general_dilated"
    batch, channels = lhs.shape[lhs_spec[0]], lhs.shape[lhs_spec[1]]
    out, into = rhs.shape[rhs_spec[0]], rhs.shape[rhs_spec[1]]
    if features < 1 or batches < 1 or (features > 1 and batches > 1):
        raise ShapeError(
            f"{what}: feature_group_count={features} and batch_group_count={batches} must be at least 1,"
            " and not both above 1"
        )
    if channels != into * features:
        raise ShapeError(
            f"{what}: lhs {lhs} has {channels} features (dimension {lhs_spec[1]}), but rhs {rhs} takes {into}"
            f" (dimension {rhs_spec[1]}) in each of {features} feature groups, {into * features} in all."
            " Check dimension_numbers: which letter of lhs is 'C', which of rhs is 'I'?"
        )
    if out % features or out % batches or batch % batches:
        raise ShapeError(
            f"{what}: {out} output features of rhs {rhs} must be a multiple of feature_group_count={features} and of"
            f" batch_group_count={batches}, which must also divide the {batch} examples of lhs {lhs}"
        )


@conv_general_dilated_p.def_abstract
def _conv_general_dilated_abstract(
    lhs: Aval, rhs: Aval, *, window_strides: Dims, padding: Pads, lhs_dilation: Dims, rhs_dilation: Dims,
    lhs_spec: Dims, rhs_spec: Dims, out_spec: Dims, feature_group_count: int, batch_group_count: int,
    preferred_element_type: np.dtype | None,
) -> Aval:  # fmt: skip
    what = "conv_general_dilated"
    check_same_dtypes(what, (lhs, rhs))
    check_dtype(what, lhs, NUMBER)
    if lhs.ndim != rhs.ndim or lhs.ndim < 2:
        raise ShapeError(
            f"{what}: lhs {lhs} has {lhs.ndim} dimensions and rhs {rhs} has {rhs.ndim}."
            " Both must have two more than there are spatial dimensions (batch and feature; output and input feature)."
        )
    for name, spec in (("lhs", lhs_spec), ("rhs", rhs_spec), ("out", out_spec)):
        if sorted(spec) != list(range(lhs.ndim)):
            raise AxisError(f"{what}: {name}_spec={spec} must name each of the dimensions 0..{lhs.ndim - 1} once")
    for name, values in (
        ("window_strides", window_strides),
        ("lhs_dilation", lhs_dilation),
        ("rhs_dilation", rhs_dilation),
    ):
        plain_sizes(what, name, values, lhs.ndim - 2)
    plain_pads(what, padding, lhs.ndim - 2)
    _check_groups(lhs, rhs, lhs_spec, rhs_spec, feature_group_count, batch_group_count)
    g = _geometry(lhs.shape, rhs.shape, window_strides, padding, lhs_dilation, rhs_dilation, lhs_spec, rhs_spec)
    canonical = (lhs.shape[lhs_spec[0]] // batch_group_count, rhs.shape[rhs_spec[0]], *g.counts)
    shape = tuple(canonical[out_spec.index(d)] for d in range(lhs.ndim))
    return Aval(shape, check_preferred_element_type(what, lhs.dtype, preferred_element_type))


@conv_general_dilated_p.def_impl
@quiet
def _conv_general_dilated_impl(
    lhs: np.ndarray, rhs: np.ndarray, *, lhs_spec: Dims, rhs_spec: Dims, out_spec: Dims, feature_group_count: int,
    batch_group_count: int, preferred_element_type: np.dtype | None, **window: Any,
) -> np.ndarray:  # fmt: skip
    dtype = lhs.dtype if preferred_element_type is None else preferred_element_type
    compute = accumulation_dtype(dtype)
    g = _geometry(lhs.shape, rhs.shape, lhs_spec=lhs_spec, rhs_spec=rhs_spec, **window)
    x = lhs.astype(compute, copy=False).transpose(lhs_spec)
    w = rhs.astype(compute, copy=False).transpose(rhs_spec)
    (n, c), (o, i) = x.shape[:2], w.shape[:2]
    groups = feature_group_count * batch_group_count
    if batch_group_count > 1:
        x = x.reshape(groups, n // groups, c, *g.sizes)
    else:
        x = x.reshape(n, groups, c // groups, *g.sizes).swapaxes(0, 1)
    w = w.reshape(groups, o // groups, i * math.prod(g.windows)).swapaxes(1, 2)
    out = _grouped_conv(x, w, g)  # (groups, examples, positions, features)
    out = out.transpose(1, 0, 3, 2).reshape(out.shape[1], o, *g.counts)
    return np.ascontiguousarray(out.transpose(np.argsort(out_spec))).astype(dtype, copy=False)


def _grouped_conv(x: np.ndarray, w: np.ndarray, g: _Geometry) -> np.ndarray:
    """Patches times kernel: x (G, N, I, spatial), w (G, I*window, O) -> (G, N, positions, O).

    Patches are a strided view of the padded input; a matrix product needs a copy of them, which is made for as
    many examples at once as fit in ``_PATCH_BYTES``.
    """
    strides, padding, lhs_dilation, rhs_dilation = g.args
    x = pad_and_dilate(x, ((0, 0),) * 3 + padding, (1, 1, 1, *lhs_dilation), 0)
    groups, examples, features = x.shape[:3]
    positions = math.prod(g.counts)
    out = np.zeros((groups, examples, positions, w.shape[2]), x.dtype)
    if out.size == 0 or w.size == 0:
        return out
    steps = x.strides[3:]
    view = np.lib.stride_tricks.as_strided(
        x,
        (groups, examples, *g.counts, features, *g.windows),
        (
            *x.strides[:2],
            *(st * s for st, s in zip(steps, strides)),
            x.strides[2],
            *(st * d for st, d in zip(steps, rhs_dilation)),
        ),
        writeable=False,
    )
    per_example = groups * positions * w.shape[1] * x.itemsize
    chunk = max(1, _PATCH_BYTES // per_example)
    for first in range(0, examples, chunk):
        patches = view[:, first : first + chunk].reshape(groups, -1, w.shape[1])
        product = np.matmul(patches, w)
        out[:, first : first + chunk] = product.reshape(groups, -1, positions, w.shape[2])
    return out


def_jvp_each(
    conv_general_dilated_p,
    lambda t, out, lhs, rhs, **params: bind(conv_general_dilated_p, t, rhs, **params),
    lambda t, out, lhs, rhs, **params: bind(conv_general_dilated_p, lhs, t, **params),
)

# -------------------------------------------------------------------------------------- transposes


def _split_axis(x: Value, axis: int, outer: int) -> Value:
    """Axis of size ``outer * rest`` -> two axes (outer, rest) in its place."""
    shape = x.shape
    return reshape(x, (*shape[:axis], outer, shape[axis] // outer, *shape[axis + 1 :]))


def _merge_axis_into(x: Value, src: int, dst: int) -> Value:
    """Moves axis ``src`` in front of axis ``dst`` (numbered without ``src``) and merges the two, ``src`` outermost."""
    x = move_batch(x, src, dst)
    shape = x.shape
    return reshape(x, (*shape[:dst], shape[dst] * shape[dst + 1], *shape[dst + 2 :]))


def _regroup(x: Value, src: int, dst: int, groups: int) -> Value:
    """Takes ``groups`` out of axis ``src`` and makes them the outermost part of axis ``dst``."""
    return x if groups == 1 else _merge_axis_into(_split_axis(x, src, groups), src, dst)


def _lhs_cotangent(ct: Value, lhs: Aval, rhs: Value, params: dict[str, Any]) -> Value:
    g = _geometry(lhs.shape, rhs.shape, **params)
    lhs_spec, rhs_spec = params["lhs_spec"], params["rhs_spec"]
    features, batches = params["feature_group_count"], params["batch_group_count"]
    groups = features * batches
    kernel = _regroup(rev(rhs, rhs_spec[2:]), rhs_spec[0], rhs_spec[1], groups)
    grad = bind(
        conv_general_dilated_p,
        ct,
        as_dtype(kernel, aval_of(ct).dtype),
        window_strides=params["lhs_dilation"],
        padding=transposed_pads(g.sizes, g.windows, *g.args),
        lhs_dilation=params["window_strides"],
        rhs_dilation=params["rhs_dilation"],
        lhs_spec=params["out_spec"],
        rhs_spec=(rhs_spec[1], rhs_spec[0], *rhs_spec[2:]),
        out_spec=lhs_spec,
        feature_group_count=groups,
        batch_group_count=1,
        preferred_element_type=None,
    )
    # with batch groups the result's features are (group, feature) and its examples those of one group
    return as_dtype(_regroup(grad, lhs_spec[1], lhs_spec[0], batches), lhs.dtype)


def _rhs_cotangent(ct: Value, lhs: Value, rhs: Aval, params: dict[str, Any]) -> Value:
    g = _geometry(lhs.shape, rhs.shape, **params)
    strides, padding, lhs_dilation, rhs_dilation = g.args
    (ln, lc, *ls), (o, i, *rs), (on, oc, *os) = (params[k] for k in ("lhs_spec", "rhs_spec", "out_spec"))
    # tap k of the kernel needs position p*s + k*b - lo for every window p: the padding before is lo, and what is
    # left after it is cropped so that exactly the kernel's taps remain
    pads = tuple(
        (lo, dilated_size(k, b) - 1 + dilated_size(count, s) - dilated_size(n, a) - lo)
        for n, k, count, s, (lo, _), a, b in zip(
            g.sizes, g.windows, g.counts, strides, padding, lhs_dilation, rhs_dilation
        )
    )
    grad = bind(
        conv_general_dilated_p,
        as_dtype(lhs, aval_of(ct).dtype),
        ct,
        window_strides=rhs_dilation,
        padding=pads,
        lhs_dilation=lhs_dilation,
        rhs_dilation=strides,
        lhs_spec=(lc, ln, *ls),
        rhs_spec=(oc, on, *os),
        out_spec=(i, o, *rs),
        feature_group_count=params["batch_group_count"],
        batch_group_count=params["feature_group_count"],
        preferred_element_type=None,
    )
    return as_dtype(grad, rhs.dtype)


@conv_general_dilated_p.def_transpose
def _conv_general_dilated_transpose(
    ct: Value, inputs: Sequence[Any], **params: Any
) -> tuple[Value | None, Value | None]:
    lhs, rhs = inputs
    linear, other = (lhs, rhs) if isinstance(lhs, Linear) else (rhs, lhs)
    if 0 in (*aval_of(ct).shape, *linear.aval.shape, *aval_of(other).shape):
        return None, None  # a sum of nothing
    if linear is lhs:
        return _lhs_cotangent(ct, lhs.aval, rhs, params), None
    return None, _rhs_cotangent(ct, lhs, rhs.aval, params)


# -------------------------------------------------------------------------------------------- vmap


def _fold(x: Value, bdim: int, axis: int, groups: int) -> Value:
    """Merges the batch axis into ``axis`` (numbered without it), inside its ``groups``: (groups, batch, rest)."""
    if groups == 1:
        return _merge_axis_into(x, bdim, axis)
    x = _split_axis(move_batch(x, bdim, 0), axis + 1, groups)  # (batch, ..., groups, rest, ...)
    x = move_batch(x, 0, axis + 1)  # (..., groups, batch, rest, ...)
    shape = x.shape
    return reshape(x, (*shape[:axis], math.prod(shape[axis : axis + 3]), *shape[axis + 3 :]))


def _unfold(x: Value, axis: int, size: int, groups: int) -> tuple[Value, int]:
    """Takes the batch axis out of an axis of (groups, batch, rest); returns the array and the batch axis."""
    shape = x.shape
    rest = shape[axis] // (groups * size)
    if groups == 1:
        return reshape(x, (*shape[:axis], size, rest, *shape[axis + 1 :])), axis
    x = reshape(x, (*shape[:axis], groups, size, rest, *shape[axis + 1 :]))
    x = move_batch(x, axis + 1, 0)
    return reshape(x, (size, *shape[:axis], groups * rest, *shape[axis + 1 :])), 0


@conv_general_dilated_p.def_batch
def _conv_general_dilated_batch(
    size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
) -> tuple[Value, int]:
    (lhs, rhs), (ld, rd) = args, dims
    lhs_spec, rhs_spec, out_spec = params["lhs_spec"], params["rhs_spec"], params["out_spec"]
    features, batches = params["feature_group_count"], params["batch_group_count"]
    if size == 0:
        one = [Aval(_without(aval_of(x).shape, d), aval_of(x).dtype) for x, d in zip(args, dims)]
        out = conv_general_dilated_p.rule("abstract")(*one, **params)
        return full((0, *out.shape), 0, out.dtype), 0
    if rd is None:  # more examples
        assert ld is not None
        out = bind(conv_general_dilated_p, _fold(lhs, ld, lhs_spec[0], batches), rhs, **params)
        return _unfold(out, out_spec[0], size, 1)
    if ld is None:  # more output features in each group
        groups = features * batches
        out = bind(conv_general_dilated_p, lhs, _fold(rhs, rd, rhs_spec[0], groups), **params)
        return _unfold(out, out_spec[1], size, groups)
    # both: the examples of the batch are groups of their own
    grouped = "batch_group_count" if batches > 1 else "feature_group_count"
    params[grouped] *= size
    lhs = _fold(lhs, ld, lhs_spec[0] if batches > 1 else lhs_spec[1], 1)
    out = bind(conv_general_dilated_p, lhs, _fold(rhs, rd, rhs_spec[0], 1), **params)
    return _unfold(out, out_spec[1], size, 1)


def _without(shape: Dims, dim: int | None) -> Dims:
    return shape if dim is None else (*shape[:dim], *shape[dim + 1 :])


# -------------------------------------------------------------------------------- public functions


def _spec_of(spec: str, first: str, second: str, order: str) -> Dims:
    """Positions of the two named letters, then of the spatial letters in the order of ``order``."""
    spatial = sorted((c for c in spec if c not in (first, second)), key=order.index)
    return tuple(spec.index(c) for c in (first, second, *spatial))


def conv_dimension_numbers(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], dimension_numbers: Any
) -> ConvDimensionNumbers:
    """``ConvDimensionNumbers`` from None, three strings, or themselves.

    >>> conv_dimension_numbers((1, 8, 8, 3), (3, 3, 3, 16), ("NHWC", "HWIO", "NHWC"))
    ConvDimensionNumbers(lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2))

    Raises:
        ShapeError: a string has a wrong length or wrong letters.
    """
    ndim = len(lhs_shape)
    what = f"dimension_numbers={dimension_numbers!r} for lhs of {ndim} and rhs of {len(rhs_shape)} dimensions"
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    if ndim != len(rhs_shape):
        raise ShapeError(f"{what}: lhs and rhs of a convolution have equally many dimensions")
    if dimension_numbers is None:
        plain = tuple(range(ndim))
        return ConvDimensionNumbers(plain, plain, plain)
    if not (
        isinstance(dimension_numbers, (tuple, list))
        and len(dimension_numbers) == 3
        and all(isinstance(s, str) for s in dimension_numbers)
    ):
        raise ShapeError(
            f"{what} must be None, three strings such as ('NHWC', 'HWIO', 'NHWC'), or ConvDimensionNumbers"
        )
    lhs, rhs, out = dimension_numbers
    spatial = set(rhs) - set("OI")
    for spec, letters in ((lhs, "NC"), (rhs, "OI"), (out, "NC")):
        if len(spec) != ndim or set(spec) != spatial | set(letters) or len(set(spec)) != ndim:
            raise ShapeError(
                f"{what}: {spec!r} must hold {letters[0]!r}, {letters[1]!r} and {ndim - 2} spatial letters, each once,"
                " and the spatial letters of the three strings must be the same"
            )
    return ConvDimensionNumbers(
        _spec_of(lhs, "N", "C", rhs), _spec_of(rhs, "O", "I", rhs), _spec_of(out, "N", "C", rhs)
    )


def conv_general_dilated(
    lhs: Value, rhs: Value, window_strides: Sequence[int], padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None, rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None, feature_group_count: int = 1, batch_group_count: int = 1,
    precision: Any = None, preferred_element_type: Any = None, out_sharding: Any = None,
) -> Value:  # fmt: skip
    """Convolution over any number of spatial dimensions; see the module docstring for the formula.

    Args:
        lhs: the input, of two dimensions (batch, feature) and the spatial ones.
        rhs: the kernel, of two dimensions (output feature, input feature) and the spatial ones.
        window_strides: one for each spatial dimension.
        padding: ``'SAME'``, ``'SAME_LOWER'``, ``'VALID'`` or a pair (before, after) for each spatial dimension.
            Negative padding crops.
        lhs_dilation: distance between neighbours of the input (more than 1: a transposed convolution).
        rhs_dilation: distance between the taps of the kernel (more than 1: an atrous convolution).
        dimension_numbers: None for (N, C, ...), (O, I, ...), (N, C, ...); or strings such as
            ``('NHWC', 'HWIO', 'NHWC')``; or ``ConvDimensionNumbers``.
        precision: accepted as in JAX; the computation is always at full precision.
        preferred_element_type: dtype of the result and of the sums; None means the operands' dtype.

    Raises:
        DTypeError: the operands differ in dtype.
        ShapeError: ranks, features, groups, strides or padding do not fit.

    >>> import fx, numpy as np
    >>> x, w = np.ones((1, 8, 8, 3), np.float32), np.ones((3, 3, 3, 16), np.float32)
    >>> fx.lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
    (1, 4, 4, 16)
    """
    what = "conv_general_dilated"
    check_precision(what, precision)
    lhs_shape, rhs_shape = aval_of(lhs).shape, aval_of(rhs).shape
    numbers = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    spatial = len(numbers.lhs_spec) - 2
    strides = plain_sizes(what, "window_strides", window_strides, spatial)
    base = plain_sizes(what, "lhs_dilation", lhs_dilation, spatial)
    dilation = plain_sizes(what, "rhs_dilation", rhs_dilation, spatial)
    if isinstance(padding, str) and any(d != 1 for d in base):
        raise ShapeError(
            f"{what}: padding={padding!r} has no meaning beside lhs_dilation={base}."
            " Give pairs (before, after), or use conv_transpose."
        )
    windows = [dilated_size(rhs_shape[d], k) for d, k in zip(numbers.rhs_spec[2:], dilation)]
    sizes = [lhs_shape[d] for d in numbers.lhs_spec[2:]]
    return bind(
        conv_general_dilated_p,
        lhs,
        rhs,
        window_strides=strides,
        padding=resolve_padding(what, padding, sizes, windows, strides),
        lhs_dilation=base,
        rhs_dilation=dilation,
        lhs_spec=tuple(numbers.lhs_spec),
        rhs_spec=tuple(numbers.rhs_spec),
        out_spec=tuple(numbers.out_spec),
        feature_group_count=int(feature_group_count),
        batch_group_count=int(batch_group_count),
        preferred_element_type=None if preferred_element_type is None else dtypes.canonical(preferred_element_type),
    )
