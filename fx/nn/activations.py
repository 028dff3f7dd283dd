"""Activation functions: elementwise, but for ``glu``.  Values and derivatives are those of ``jax.nn``."""

from __future__ import annotations

import math
from typing import Any

from .. import numpy as fnp
from ..errors import ShapeError
from ..numpy.axes import canonical_axis
from ..numpy.core import as_value, promote_inexact
from ..numpy.unary import rounded_once
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives.joining import slice_in_dim
from ..transforms.custom_jvp import custom_jvp

__all__ = [
    "celu", "elu", "gelu", "glu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity", "leaky_relu",
    "log1mexp", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus", "sparse_plus",
    "sparse_sigmoid", "squareplus", "swish", "tanh",
]  # fmt: skip

Value = Any


def _value(x: Any) -> Value:
    return as_value(x, "the argument of an activation function")


def _float(x: Any) -> Value:
    return promote_inexact(_value(x))[0]


def identity(x: Any) -> Value:
    """x itself."""
    return _value(x)


def tanh(x: Any) -> Value:
    """Hyperbolic tangent."""
    return fnp.tanh(x)


# ------------------------------------------------------------------------------------ piecewise linear


@planned
def relu(x: Any) -> Value:
    """max(x, 0), with derivative 0 at 0.

    Written as a selection: ``maximum`` would share the derivative at 0 between its operands.

    >>> relu(fnp.array([-1.0, 2.0]))
    Array([0., 2.], dtype=float32)
    """
    x = _value(x)
    return fnp.where(x <= 0, 0, x)


@planned
def relu6(x: Any) -> Value:
    """min(max(x, 0), 6), with derivative 0 at both ends."""
    x = _float(x)
    return fnp.where(x <= 0, 0, fnp.where(x >= 6, 6, x))


@planned
def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Value:
    """x for x >= 0, else negative_slope * x.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.leaky_relu(np.array([-2.0, 3.0]), 0.1)
    Array([-0.2,  3. ], dtype=float64)
    """
    x = _value(x)
    return fnp.where(x >= 0, x, negative_slope * x)


@planned
def hard_tanh(x: Any) -> Value:
    """x clipped to [-1, 1]."""
    x = _value(x)
    return fnp.where(x > 1, 1, fnp.where(x < -1, -1, x))


@planned
def hard_sigmoid(x: Any) -> Value:
    """relu6(x + 3) / 6."""
    return relu6(_float(x) + 3) / 6


@planned
def hard_silu(x: Any) -> Value:
    """x * hard_sigmoid(x)."""
    x = _float(x)
    return x * hard_sigmoid(x)


hard_swish = hard_silu


@planned
def sparse_sigmoid(x: Any) -> Value:
    """(x + 1) / 2 clipped to [0, 1]."""
    return 0.5 * fnp.clip(_float(x) + 1, 0, 2)


@planned
def sparse_plus(x: Any) -> Value:
    """0 for x <= -1, x for x >= 1, and (x + 1)**2 / 4 between."""
    x = _float(x)
    return fnp.where(x <= -1, 0, fnp.where(x >= 1, x, fnp.square(x + 1) / 4))


# --------------------------------------------------------------------------------------------- smooth


@planned
def sigmoid(x: Any) -> Value:
    """1 / (1 + exp(-x))."""
    return p.logistic(_float(x))


@custom_jvp
def softplus(x: Any) -> Value:
    """log(1 + exp(x)), without overflow; its derivative is the sigmoid, at every order.

    >>> softplus(fnp.array([0.0, 1000.0]))
    Array([6.931472e-01, 1.000000e+03], dtype=float32)
    """
    x = _float(x)
    return fnp.maximum(x, 0) + fnp.log1p(fnp.exp(-fnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: tuple[Value], tangents: tuple[Value]) -> tuple[Value, Value]:
    return softplus(*primals), tangents[0] * sigmoid(*primals)


softplus = planned(softplus)


@planned
def log_sigmoid(x: Any) -> Value:
    """log(sigmoid(x)) = -softplus(-x)."""
    return -softplus(-_float(x))


@custom_jvp
def log1mexp(x: Any) -> Value:
    """log(1 - exp(-x)) for x > 0, accurate for small and for large x.

    Source: Maechler, "Accurately computing log(1 - exp(-|a|))", 2012.

    >>> log1mexp(fnp.array([1e-5, 50.0]))
    Array([-1.1512931e+01, -1.9287499e-22], dtype=float32)
    """
    x = _float(x)
    return fnp.where(x < math.log(2), fnp.log(-fnp.expm1(-x)), fnp.log1p(-fnp.exp(-x)))


@log1mexp.defjvp
def _log1mexp_jvp(primals: tuple[Value], tangents: tuple[Value]) -> tuple[Value, Value]:
    return log1mexp(*primals), tangents[0] / fnp.expm1(_float(*primals))


log1mexp = planned(log1mexp)


@planned
def silu(x: Any) -> Value:
    """x * sigmoid(x), also called swish."""
    x = _float(x)
    return x * p.logistic(x)


swish = silu


@planned
def mish(x: Any) -> Value:
    """x * tanh(softplus(x))."""
    x = _float(x)
    return x * fnp.tanh(softplus(x))


@planned
def soft_sign(x: Any) -> Value:
    """x / (|x| + 1)."""
    x = _float(x)
    return x / (fnp.abs(x) + 1)


@planned
def squareplus(x: Any, b: Any = 4) -> Value:
    """(x + sqrt(x**2 + b)) / 2."""
    x = _float(x)
    return rounded_once(lambda x: (x + fnp.sqrt(fnp.square(x) + b)) / 2)(x)


@planned
def elu(x: Any, alpha: Any = 1.0) -> Value:
    """x for x > 0, else alpha * (exp(x) - 1)."""
    x = _float(x)
    return fnp.where(x > 0, x, alpha * fnp.expm1(fnp.where(x > 0, 0, x)))


@planned
def celu(x: Any, alpha: Any = 1.0) -> Value:
    """max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1): continuously differentiable for every alpha."""
    x = _float(x)
    return fnp.maximum(x, 0) + alpha * fnp.expm1(fnp.minimum(x, 0) / alpha)


@planned
def selu(x: Any) -> Value:
    """Scaled elu, whose outputs keep mean 0 and variance 1.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", 2017.
    """
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


@planned
def gelu(x: Any, approximate: bool = True) -> Value:
    """x times the probability that a standard normal number lies below x.

    Args:
        approximate: use tanh(sqrt(2 / pi) * (x + 0.044715 x**3)) in place of the error function.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.gelu(np.array([-1.0, 0.0, 1.0])).round(3)
    Array([-0.159,  0.   ,  0.841], dtype=float64)
    """
    x = _float(x)
    if approximate:
        return _gelu(x)
    return 0.5 * x * p.erfc(-x * math.sqrt(0.5))


@rounded_once  # the cube of 41 is beyond float16
def _gelu(x: Value) -> Value:
    return x * (0.5 * (1 + fnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


@planned
def glu(x: Any, axis: int = -1) -> Value:
    """The first half of ``x`` along ``axis``, times the sigmoid of the second.

    Raises:
        ShapeError: the size along ``axis`` is odd.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.glu(np.array([2.0, 4.0, 0.0, 0.0]))
    Array([1., 2.], dtype=float64)
    """
    x = _float(x)
    axis = canonical_axis(axis, x.ndim)
    size = x.shape[axis]
    if size % 2:
        raise ShapeError(f"glu halves an axis; axis {axis} of shape {x.shape} has odd size")
    return slice_in_dim(x, 0, size // 2, axis=axis) * p.logistic(slice_in_dim(x, size // 2, size, axis=axis))
