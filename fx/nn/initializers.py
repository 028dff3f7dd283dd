"""``fx.nn.initializers``: functions ``(key, shape, dtype=None) -> array``, the same values as ``jax.nn.initializers``.

``variance_scaling`` and what is made of it keep the variance of activations (fan_in) or gradients (fan_out) constant
through a layer; fans count the elements that each output, or input, is connected to.  The last two axes of a shape
are (in, out) unless given otherwise; all others are the receptive field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes, lax, random
from .. import numpy as fnp
from ..config import config
from ..errors import ShapeError
from ..misnamed import no_attribute
from ..numpy.axes import static_shape
from ..traceback import user_frames

__all__ = [
    "calculate_gain", "constant", "delta_orthogonal", "dirac", "eye", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "kaiming_normal", "kaiming_uniform",
    "lecun_normal", "lecun_uniform", "normal", "ones", "orthogonal", "sparse", "trunc_normal", "truncated_normal", "uniform", "uniform_within", "variance_scaling", "xavier_normal",
    "xavier_uniform", "zeros",
]  # fmt: skip

Value = Any
Axes = int | Sequence[int]
Initializer = Callable[..., Value]


def _dtype(dtype: Any) -> np.dtype:
    return config.default_float if dtype is None else dtypes.canonical(dtype)


def zeros(key: Any, shape: Any, dtype: Any = None) -> Value:
    """All 0; the key is not used."""
    return fnp.zeros(shape, _dtype(dtype))


def ones(key: Any, shape: Any, dtype: Any = None) -> Value:
    """All 1; the key is not used."""
    return fnp.ones(shape, _dtype(dtype))


def constant(value: Any, dtype: Any = None) -> Initializer:
    """All ``value``."""
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        return fnp.full(shape, value, _dtype(dtype))

    return init


def uniform(scale: Any = 1e-2, dtype: Any = None) -> Initializer:
    """Uniform in [0, scale)."""
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        d = _dtype(dtype)
        return random.uniform(key, shape, d) * fnp.asarray(scale, d)

    return init


def uniform_within(bound: Any, dtype: Any = None) -> Initializer:
    """Uniform in [-bound, bound): with 1 / sqrt(fan in), PyTorch's choice for its layers."""
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        d = _dtype(dtype)
        return random.uniform(key, shape, d, -1) * fnp.asarray(bound, d)

    return init


def normal(stddev: Any = 1e-2, dtype: Any = None) -> Initializer:
    """Normal with mean 0."""
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        d = _dtype(dtype)
        return random.normal(key, shape, d) * fnp.asarray(stddev, d)

    return init


def truncated_normal(stddev: Any = 1e-2, dtype: Any = None, lower: Any = -2.0, upper: Any = 2.0) -> Initializer:
    """``stddev`` times a standard normal number conditioned on lying between ``lower`` and ``upper``."""
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        d = _dtype(dtype)
        return random.truncated_normal(key, lower, upper, shape, d) * fnp.asarray(stddev, d)

    return init


def trunc_normal(mean: Any = 0.0, std: Any = 1.0, a: Any = -2.0, b: Any = 2.0, dtype: Any = None) -> Initializer:
    """Normal numbers conditioned on lying between ``a`` and ``b``, PyTorch's way of saying it: bounds of the result."""
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        d = _dtype(dtype)
        return random.truncated_normal(key, (a - mean) / std, (b - mean) / std, shape, d) * fnp.asarray(
            std, d
        ) + fnp.asarray(mean, d)

    return init


def eye(key: Any, shape: Any, dtype: Any = None) -> Value:
    """The identity matrix, of shape (in, out); the key is not used."""
    shape = static_shape(shape)
    if len(shape) != 2:
        raise ShapeError(f"the initializer eye makes matrices; found shape {shape}")
    return fnp.eye(shape[0], shape[1], dtype=_dtype(dtype))


def dirac(groups: int = 1, dtype: Any = None) -> Initializer:
    """Convolution kernels (*window, in / groups, out) that let the first channels of each group through as they are."""
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        shape, d = static_shape(shape), _dtype(dtype)
        if len(shape) < 3 or shape[-1] % groups:
            raise ShapeError(
                f"the initializer dirac takes shapes (*window, in, out) with groups={groups} in out; found {shape}"
            )
        own = fnp.eye(shape[-2], shape[-1] // groups, dtype=d)
        return fnp.zeros(shape, d).at[tuple([n // 2 for n in shape[:-2]])].set(fnp.tile(own, (1, groups)))

    return init


def sparse(sparsity: float, stddev: Any = 0.01, dtype: Any = None) -> Initializer:
    """Normal matrices (in, out) of which, for each input, a share of the outputs is 0.

    Source: Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        shape, d = static_shape(shape), _dtype(dtype)
        if len(shape) != 2:
            raise ShapeError(f"the initializer sparse makes matrices; found shape {shape}")
        for_values, for_places = random.split(key)
        places = fnp.argsort(fnp.argsort(random.uniform(for_places, shape), axis=1), axis=1)
        values = random.normal(for_values, shape, d) * fnp.asarray(stddev, d)
        return fnp.where(places < math.ceil(sparsity * shape[1]), fnp.zeros((), d), values)

    return init


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which an activation function shrinks its input, as PyTorch gives it, for the scale of initializers.

    >>> calculate_gain("relu") ** 2
    2.0000000000000004
    """
    slope = 0.01 if param is None else param
    gains = {
        **dict.fromkeys(("linear", "identity", "sigmoid", "conv1d", "conv2d", "conv3d"), 1.0),
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ShapeError(f"calculate_gain knows {', '.join(gains)}; found {nonlinearity!r}")
    return gains[nonlinearity]


def _size(shape: tuple[int, ...], axes: Axes) -> int:
    return shape[axes] if isinstance(axes, int) else math.prod(shape[a] for a in axes)


def _fans(shape: tuple[int, ...], in_axis: Axes, out_axis: Axes, batch_axis: Axes) -> tuple[float, float]:
    """How many inputs each output has, and how many outputs each input."""
    if in_axis == -2 and len(shape) < 2:
        raise ShapeError(
            f"an initializer that scales by fans needs axes (in, out): found shape {shape}."
            " Give in_axis and out_axis, or use zeros, constant, normal or uniform."
        )
    size_in, size_out = _size(shape, in_axis), _size(shape, out_axis)
    field = math.prod(shape) / size_in / size_out / _size(shape, batch_axis) if math.prod(shape) else 1.0
    return size_in * field, size_out * field


def _in_disk(key: Any, shape: tuple[int, ...], d: np.dtype, normal: bool) -> Value:
    """Complex numbers by modulus and angle: normal ones of variance 1 before their modulus is cut off at 2, or uniform
    ones of variance 1 in a disk."""
    for_modulus, for_angle = random.split(key)
    u, turn = (random.uniform(k, shape, dtypes.real_dtype(d)) for k in (for_modulus, for_angle))
    modulus = fnp.sqrt(-fnp.log1p(u * math.expm1(-4))) if normal else fnp.sqrt(2 * u)
    angle = 2 * np.pi * turn
    return lax.complex(modulus * fnp.cos(angle), modulus * fnp.sin(angle))


_DENOMINATORS: dict[str, Callable[[float, float], float]] = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
    "fan_geo_avg": lambda fan_in, fan_out: math.sqrt(fan_in * fan_out),
}
_DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")


def variance_scaling(
    scale: Any,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
) -> Initializer:
    """Numbers of mean 0 and variance ``scale / n``.

    Args:
        mode: what n is: "fan_in", "fan_out", "fan_avg" (their mean) or "fan_geo_avg" (their geometric mean).
        distribution: "truncated_normal" (within two standard deviations), "normal" or "uniform"; of a complex dtype it
            is the modulus that is truncated, and the disk that is filled uniformly.
        in_axis, out_axis: axes of the shape that hold the layer's inputs and outputs.
        batch_axis: axes along which there are independent layers.

    >>> variance_scaling(2.0, "fan_in", "normal")(random.key(0), (3, 3, 16, 32)).shape
    (3, 3, 16, 32)
    """
    default = dtype
    if mode not in _DENOMINATORS:
        raise ShapeError(f"variance_scaling has the modes {', '.join(_DENOMINATORS)}; found {mode!r}")
    if distribution not in _DISTRIBUTIONS:
        raise ShapeError(f"variance_scaling has the distributions {', '.join(_DISTRIBUTIONS)}; found {distribution!r}")

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        shape, d = static_shape(shape), _dtype(dtype)
        fans = _fans(shape, in_axis, out_axis, batch_axis)
        variance = fnp.asarray(scale / (_DENOMINATORS[mode](*fans) or 1), d)  # a shape without elements has no fans
        if distribution == "truncated_normal":
            if dtypes.is_complex(d):
                # JAX's divisor; the standard deviation of a complex normal number below 2 is 0.962
                spread = fnp.sqrt(variance) / fnp.asarray(math.sqrt(1 - 5 * math.exp(-4)), d)
                return _in_disk(key, shape, d, True) * spread
            # the divisor is the standard deviation of a standard normal number conditioned on (-2, 2)
            spread = fnp.sqrt(variance) / fnp.asarray(0.87962566103423978, d)
            return random.truncated_normal(key, -2, 2, shape, d) * spread
        if distribution == "normal":
            return random.normal(key, shape, d) * fnp.sqrt(variance)
        if dtypes.is_complex(d):
            return _in_disk(key, shape, d, False) * fnp.sqrt(variance)
        return random.uniform(key, shape, d, -1) * fnp.sqrt(3 * variance)

    return init


def orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """``scale`` times a matrix with orthonormal rows or columns, whichever are the fewer, drawn uniformly.

    Args:
        column_axis: of the shape, the one that counts columns; the others count rows together.

    Source: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning", 2014.

    >>> import fx, numpy as np
    >>> w = fx.nn.initializers.orthogonal()(fx.random.key(0), (3, 3))
    >>> np.allclose(w @ w.T, np.eye(3), atol=1e-6)
    Array(True, dtype=bool)
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        shape, d = static_shape(shape), _dtype(dtype)
        if len(shape) < 2:
            raise ShapeError(f"the initializer orthogonal makes matrices, of at least 2 axes; found shape {shape}")
        if not math.prod(shape):
            return fnp.zeros(shape, d)
        columns = shape[column_axis]
        others = [n for i, n in enumerate(shape) if i != column_axis % len(shape)]
        q = random.orthogonal(key, math.prod(others), (), d, columns)
        return fnp.moveaxis(fnp.reshape(q, (*others, columns)), -1, column_axis) * fnp.asarray(scale, d)

    return init


def delta_orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """Convolution kernels that are an orthogonal matrix at the middle of the window and 0 elsewhere.

    Takes shapes (*window, in, out) of 3 to 5 axes with in <= out.

    Source: Xiao et al., "Dynamical isometry and a mean field theory of CNNs", 2018.
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Value:
        shape, d = static_shape(shape), _dtype(dtype)
        if not 3 <= len(shape) <= 5 or shape[-1] < shape[-2]:
            raise ShapeError(
                f"the initializer delta_orthogonal takes shapes (*window, in, out) of 3 to 5 axes with in <= out; found {shape}"
            )
        middle = tuple([(n - 1) // 2 for n in shape[:-2]])
        return fnp.zeros(shape, d).at[middle].set(orthogonal(scale, column_axis)(key, shape[-2:], d))

    return init


def _scaled(scale: float, mode: str, distribution: str, doc: str) -> Callable[..., Initializer]:
    def make(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
        return variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)

    make.__doc__ = doc
    return make


glorot_uniform = xavier_uniform = _scaled(
    1.0, "fan_avg", "uniform", "Uniform of variance 2 / (fan_in + fan_out) (Glorot, Bengio, 2010)."
)
glorot_normal = xavier_normal = _scaled(
    1.0, "fan_avg", "truncated_normal", "Truncated normal of variance 2 / (fan_in + fan_out) (Glorot, Bengio, 2010)."
)
he_uniform = kaiming_uniform = _scaled(
    2.0, "fan_in", "uniform", "Uniform of variance 2 / fan_in, for relu (He et al., 2015)."
)
he_normal = kaiming_normal = _scaled(
    2.0, "fan_in", "truncated_normal", "Truncated normal of variance 2 / fan_in, for relu (He et al., 2015)."
)
lecun_uniform = _scaled(1.0, "fan_in", "uniform", "Uniform of variance 1 / fan_in (LeCun et al., 1998).")
lecun_normal = _scaled(
    1.0, "fan_in", "truncated_normal", "Truncated normal of variance 1 / fan_in (LeCun et al., 1998)."
)


if not TYPE_CHECKING:  # a type checker says itself what is not there

    @user_frames
    def __getattr__(name: str) -> None:
        """PyTorch's end in an underscore."""
        raise no_attribute("fx.nn.initializers", name, __all__, {})
