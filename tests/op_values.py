"""What the table of cases is made of: operands by dtype, and random geometry for structured operations.

An operand is a *draw*: a function ``(rng, dtype) -> array``.  Most take the dtype of the case; indices, selectors and
keys have one of their own.  Geometry (which dimensions a product contracts, how a window is padded ...) is drawn from
a seed, so that a case can be named by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fx import dtypes

Draw = Callable[[np.random.Generator, np.dtype], np.ndarray]
Shape = tuple[int, ...]

# ---------------------------------------------------------------------------------------- numbers


def uniform(low: float, high: float, shape: Shape = (2, 3), seed: int = 0) -> np.ndarray:
    """float64 numbers, the same on every call."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape)


def spread(*shape: int, seed: int = 0) -> np.ndarray:
    """Distinct values, 0.1 apart, in random order: no extremes tie and finite differences do not cross."""
    n = math.prod(shape)
    return (np.random.default_rng([seed, *shape]).permutation(n).reshape(shape) - n / 2 + 0.05) * 0.1


def _integers(rng: np.random.Generator, dtype: np.dtype, shape: Shape) -> np.ndarray:
    """Half of them small, half from the whole range, where sums and products wrap."""
    info = np.iinfo(dtype)
    small = rng.integers(0 if dtype.kind == "u" else -5, 6, shape).astype(dtype)
    return np.where(rng.random(shape) < 0.5, small, rng.integers(info.min, info.max, shape, dtype, endpoint=True))


def numbers(shape: Shape, low: float = -2.0, high: float = 2.0) -> Draw:
    """Floats between ``low`` and ``high``; complex numbers with both parts there; integers and bools of any value."""

    def draw(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        if dtypes.is_bool(dtype):
            return np.asarray(rng.random(shape) < 0.5)
        if dtypes.is_integer(dtype):
            return np.asarray(_integers(rng, dtype, shape), dtype)
        x = rng.uniform(low, high, shape)
        return np.asarray(x + 1j * rng.uniform(low, high, shape) if dtypes.is_complex(dtype) else x).astype(dtype)

    return draw


def distinct(shape: Shape, scale: float = 0.1) -> Draw:
    """Distinct values in random order (as far as the dtype has so many): where no tie decides and no difference
    quotient crosses a kink."""

    def draw(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        n = math.prod(shape)
        if dtypes.is_integer(dtype) or dtypes.is_bool(dtype):
            start = 0 if dtype.kind in "ub" else -(n // 2)
            return (rng.permutation(n) + start).astype(dtype).reshape(shape)
        x = (rng.permutation(n) - n / 2 + 0.3) * scale
        return (x + 1j * rng.permutation(x) if dtypes.is_complex(dtype) else x).astype(dtype).reshape(shape)

    return draw


def few(shape: Shape, count: int = 3) -> Draw:
    """Small integers in any dtype: many ties."""
    return lambda rng, dtype: rng.integers(0, count, shape).astype(dtype)


def integers(shape: Shape, low: int, high: int, dtype: Any = np.int32) -> Draw:
    """Integers of one dtype, whatever the dtype of the case: indices and selectors."""
    return lambda rng, _: np.asarray(rng.integers(low, high, shape), dtype)


def permutation(n: int, count: int, dtype: Any = np.int32) -> Draw:
    """``count`` different indices below ``n`` as index vectors of length 1."""
    return lambda rng, _: rng.permutation(n)[:count, None].astype(dtype)


def bits(shape: Shape, dense: bool) -> Draw:
    """Bools and integers most of whose bits are set (``dense``) or clear, so that few of them decide a reduction."""

    def draw(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        three = [numbers(shape)(rng, dtype) for _ in range(4)]
        combine = np.bitwise_or if dense else np.bitwise_and
        return np.asarray(combine.reduce([numbers(shape)(rng, dtype), *three]), dtype)

    return draw


def flags(shape: Shape) -> Draw:
    return lambda rng, _: np.asarray(rng.random(shape) < 0.5)


# ----------------------------------------------------------------------------------- special values


def _float_specials(dtype: np.dtype) -> list[float]:
    """Zeros, halves, limits, subnormals, infinities, NaN, and arguments that are large for trigonometry."""
    mantissa, least, greatest = {
        "float16": (10, -14, 15), "bfloat16": (7, -126, 127), "float32": (23, -126, 127), "float64": (52, -1022, 1023),
    }[dtype.name]  # fmt: skip
    tiny, eps = 2.0**least, 2.0**-mantissa
    top = (2 - eps) * 2.0**greatest
    plain = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 0.25, math.pi, 10.0, 33.0, 88.0, 1e4, 1 - eps, 1 + eps, eps / 4, tiny]
    plain += [top, top / 4, tiny * eps, tiny * 0.75, math.inf]
    if greatest > 15:
        plain += [1e5, 12345.678, 1e22, 2.0**31, 2.0**63, 1e-20]
    return [*plain, *(-x for x in plain), math.nan]


def special_values(dtype: np.dtype) -> np.ndarray:
    """The values at which functions of this dtype go wrong."""
    if dtypes.is_bool(dtype):
        return np.array([False, True])
    if dtypes.is_integer(dtype):
        info, bits = np.iinfo(dtype), 8 * dtype.itemsize
        values = [
            0,
            1,
            2,
            3,
            7,
            bits - 1,
            bits,
            bits + 1,
            info.max,
            info.max - 1,
            info.min,
            info.min + 1,
            info.max // 2,
        ]
        if dtype.kind == "i":
            values += [-1, -2, -3, -7, -bits]
        return np.array(sorted(set(values)), dtype)
    if dtypes.is_complex(dtype):
        real = np.array([0.0, -0.0, 0.5, -1.0, 1.0, 2.0, -3.5, 1e-4, 1e4], dtypes.real_dtype(dtype))
        out = np.empty((len(real), len(real)), dtype)
        out.real, out.imag = real[:, None], real
        return out.reshape(-1)
    with np.errstate(over="ignore"):
        return np.array(_float_specials(dtype)).astype(dtype)


def specials(count: int, limit: int = 600, bound: float = math.inf) -> tuple[Draw, ...]:
    """``count`` operands that meet all tuples of special values up to ``bound`` (or ``limit`` tuples, chosen at random).

    Each draw begins somewhere else, so that the examples of a batch differ.
    """

    def grid(rng: np.random.Generator, dtype: np.dtype) -> list[np.ndarray]:
        values = special_values(dtype)
        values = values[np.isnan(values) | (np.abs(values) <= bound)] if bound < math.inf else values
        places = np.indices((len(values),) * count).reshape(count, -1)
        if places.shape[1] > limit:
            places = places[:, np.random.default_rng(0).choice(places.shape[1], limit, replace=False)]
        return [np.roll(values[p], int(rng.integers(len(p)))) for p in places]

    return tuple((lambda rng, dtype, k=k: grid(rng, dtype)[k]) for k in range(count))


def sprinkled(draw: Draw) -> Draw:
    """``draw`` with NaN, infinities and both zeros here and there; integers and bools stay."""

    def mixed(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        x = draw(rng, dtype)
        if not dtypes.is_inexact(dtype):
            return x
        odd = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0])[rng.integers(0, 5, x.shape)].astype(dtype)
        return np.where(rng.random(x.shape) < 0.15, odd, x)

    return mixed


# -------------------------------------------------------------------------------------- geometry


def dot_config(seed: int) -> tuple[Shape, Shape, Any]:
    """Shapes of two operands and dimension_numbers: any number of batch, free and contracted dimensions, anywhere."""
    rng = np.random.default_rng(seed)
    batch, rows, cols, depth = (list(rng.integers(0 if seed % 7 == 6 else 1, 4, rng.integers(0, 3))) for _ in range(4))
    if seed % 7 == 6:
        depth = [0]
    lhs = rng.permutation(len(batch) + len(rows) + len(depth))
    rhs = rng.permutation(len(batch) + len(cols) + len(depth))
    x_shape, y_shape = [0] * len(lhs), [0] * len(rhs)
    for d, n in zip(lhs, batch + depth + rows):
        x_shape[d] = int(n)
    for d, n in zip(rhs, batch + depth + cols):
        y_shape[d] = int(n)
    b, k = len(batch), len(batch) + len(depth)
    dims = tuple(map(int, lhs)), tuple(map(int, rhs))
    numbers = ((dims[0][b:k], dims[1][b:k]), (dims[0][:b], dims[1][:b]))
    return tuple(x_shape), tuple(y_shape), numbers


def conv_config(seed: int) -> tuple[Shape, Shape, dict[str, Any]]:
    """Shapes of input and kernel, and the parameters: 0 to 3 spatial dimensions, groups, dilations, cropping."""
    rng = np.random.default_rng(seed)
    spatial = int(rng.integers(0, 3)) if seed % 5 else 3
    kind = seed % 4
    features = int(rng.integers(2, 4)) if kind == 1 else 1
    batches = int(rng.integers(2, 4)) if kind == 3 else 1
    n, i = int(rng.integers(1, 3)) * batches, int(rng.integers(1, 3))
    o = int(rng.integers(1, 3)) * features * batches
    top = 6 if spatial < 3 else 4
    sizes, taps = rng.integers(2, top, spatial), rng.integers(1, 4, spatial)
    if seed % 11 == 10:
        sizes[:1] = 0
    strides, lhs_dilation, rhs_dilation = (tuple(map(int, rng.integers(1, 3, spatial))) for _ in range(3))
    padding = tuple((int(a), int(b)) for a, b in rng.integers(-1, 3, (spatial, 2)))
    specs = tuple(tuple(map(int, rng.permutation(spatial + 2))) for _ in range(3))
    lhs, rhs = [0] * (spatial + 2), [0] * (spatial + 2)
    for d, s in zip(specs[0], (n, i * features, *sizes)):
        lhs[d] = int(s)
    for d, s in zip(specs[1], (o, i, *taps)):
        rhs[d] = int(s)
    return tuple(lhs), tuple(rhs), conv_params(strides, padding, lhs_dilation, rhs_dilation, *specs, features, batches)


def conv_params(
    strides: Shape, padding: Sequence[tuple[int, int]], lhs_dilation: Shape, rhs_dilation: Shape, lhs_spec: Shape,
    rhs_spec: Shape, out_spec: Shape, features: int = 1, batches: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """The parameters of ``conv_general_dilated``."""
    return {
        "window_strides": strides, "padding": tuple(padding), "lhs_dilation": lhs_dilation,
        "rhs_dilation": rhs_dilation, "lhs_spec": lhs_spec, "rhs_spec": rhs_spec, "out_spec": out_spec,
        "feature_group_count": features, "batch_group_count": batches, "preferred_element_type": None,
    }  # fmt: skip


def window_config(seed: int) -> tuple[Shape, tuple[Any, ...]]:
    """A shape, and (window_dimensions, window_strides, padding, base_dilation, window_dilation)."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    shape = tuple(map(int, rng.integers(1, 7, ndim)))
    if seed % 11 == 10:
        shape = (0, *shape[1:])
    window, strides, base, dilation = (tuple(map(int, rng.integers(1, hi, ndim))) for hi in (4, 4, 3, 3))
    padding = tuple((int(a), int(b)) for a, b in rng.integers(-1 if seed % 3 == 0 else 0, 3, (ndim, 2)))
    return shape, (window, strides, padding, base, dilation)


def index_config(seed: int) -> tuple[Shape, Shape, Any, Shape]:
    """A random operand, window, and numbers in gather's spelling; the shape of the indices."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 5))
    shape = rng.integers(1, 5, ndim)
    order = list(map(int, rng.permutation(ndim)))
    batching = sorted(order[: rng.integers(0, min(ndim, 3))])
    rest = [d for d in order if d not in batching]
    collapsed = sorted(rest[: rng.integers(0, len(rest) + 1)])
    index_map = [d for d in rest if rng.random() < 0.7]
    sizes = [1 if d in batching or d in collapsed else int(rng.integers(1, n + 1)) for d, n in enumerate(shape)]
    if seed % 3 == 0:  # whole rows
        sizes = [
            int(n) if d not in (*batching, *collapsed, *index_map) else k for d, (n, k) in enumerate(zip(shape, sizes))
        ]
    outer = [int(shape[d]) for d in batching] + list(map(int, rng.integers(1, 4, rng.integers(0, 3))))
    axes = list(map(int, rng.permutation(len(outer))))
    indices = [0] * len(outer)
    for axis, n in zip(axes, outer):
        indices[axis] = n
    ndim_out = len(outer) + ndim - len(batching) - len(collapsed)
    offset = sorted(map(int, rng.permutation(ndim_out)[: ndim - len(batching) - len(collapsed)]))
    if seed % 3 == 0:
        offset = list(range(ndim_out - len(offset), ndim_out))
    found = tuple(map(tuple, (offset, collapsed, index_map, batching, axes[: len(batching)])))
    return tuple(map(int, shape)), tuple(sizes), found, (*indices, len(index_map))


def update_shape(sizes: Shape, indices: Shape, dimension_numbers: Any) -> Shape:
    """The shape of the updates of a scatter that writes the windows that such a gather reads."""
    kept = [k for d, k in enumerate(sizes) if d not in (*dimension_numbers[1], *dimension_numbers[3])]
    outer = iter(indices[:-1])
    inside = dict(zip(dimension_numbers[0], kept))
    return tuple(inside[d] if d in inside else next(outer) for d in range(len(kept) + len(indices) - 1))


def window_params(window: tuple[Any, ...]) -> dict[str, Any]:
    """The parameters of the window primitives."""
    names = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
    return dict(zip(names, window, strict=True))


# --------------------------------------------------------------------------------------- matrices


def _adjoint(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x.conj(), -1, -2)


def positive_definite(shape: Shape) -> Draw:
    """Hermitian matrices with eigenvalues above 1, apart from each other."""

    def draw(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        x = numbers(shape)(rng, np.result_type(dtype, np.float64))
        spectrum = np.eye(shape[-1]) * np.arange(1, shape[-1] + 1)
        return (x @ _adjoint(x) / max(shape[-1], 1) + 2 * spectrum).astype(dtype)

    return draw


def general_matrix(shape: Shape) -> Draw:
    """Matrices whose columns, singular values and eigenvalues are well apart."""

    def draw(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        x = numbers(shape, -1.0, 1.0)(rng, dtype) * dtype.type(min(1.0, 3 / max(*shape[-2:], 1)))
        return (x + np.eye(*shape[-2:]) * (2 + np.arange(shape[-1]))).astype(dtype)

    return draw


def triangular(shape: Shape) -> Draw:
    """Square matrices of which either triangle is well conditioned."""

    def draw(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        x = numbers(shape, -0.5, 0.5)(rng, dtype)
        return (x + np.eye(shape[-1]) * rng.uniform(1.5, 2.5, shape)).astype(dtype)

    return draw


def damaged(draw: Draw) -> Draw:
    """One matrix of the batch with a NaN, one with an infinity, one of zeros."""

    def changed(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        x = draw(rng, dtype)
        x[0, -1, -1], x[1, 0, 0], x[2] = np.nan, np.inf, 0
        return x

    return changed
