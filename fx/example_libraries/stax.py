"""Layers as pairs of functions: ``init(key, input_shape) -> (output_shape, params)``, ``apply(params, inputs, rng=None)``.

>>> import fx.numpy as fnp
>>> from fx import random
>>> init, apply = serial(Dense(8), Relu, Dense(2), LogSoftmax)
>>> shape, params = init(random.key(0), (-1, 3))
>>> shape, apply(params, fnp.ones((5, 3))).shape
((-1, 2), (5, 2))
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import lax, random
from .. import numpy as fnp
from ..errors import ArgumentError
from ..nn import elu, gelu, leaky_relu, log_softmax, relu, selu, sigmoid, softmax, softplus, standardize
from ..nn.initializers import glorot_normal, normal, ones, zeros

__all__ = [
    "AvgPool", "BatchNorm", "Conv", "Conv1DTranspose", "ConvTranspose", "Dense", "Dropout", "Elu", "Exp", "FanInConcat",
    "FanInSum", "FanOut", "Flatten", "Gelu", "GeneralConv", "GeneralConvTranspose", "Identity", "LeakyRelu", "LogSoftmax",
    "MaxPool", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "SumPool", "Tanh", "elementwise", "glorot", "logsoftmax",
    "parallel", "randn", "serial", "shape_dependent",
]  # fmt: skip

Value = Any
Shape = tuple[int, ...]
Layer = tuple[Callable[..., Any], Callable[..., Any]]

glorot, randn, logsoftmax = glorot_normal, normal, log_softmax


def _stateless(shape: Callable[[Any], Any], f: Callable[[Any], Any]) -> Layer:
    """The layer without parameters of a function and what it does to a shape."""
    return lambda rng, input_shape: (shape(input_shape), ()), lambda params, inputs, **kwargs: f(inputs)


# -------------------------------------------------------------------------------- layers with parameters


def Dense(out_dim: int, W_init: Any = glorot_normal(), b_init: Any = normal()) -> Layer:
    """inputs @ W + b"""

    def init(rng: Any, input_shape: Shape) -> Any:
        for_weights, for_bias = random.split(rng)
        params = W_init(for_weights, (input_shape[-1], out_dim)), b_init(for_bias, (out_dim,))
        return (*input_shape[:-1], out_dim), params

    return init, lambda params, inputs, **kwargs: fnp.dot(inputs, params[0]) + params[1]


def _convolution(
    spec: Sequence[str], out_chan: int, filter_shape: Sequence[int], W_init: Any, b_init: Any,
    out_shape: Callable[[Shape, Shape], Shape], convolve: Callable[[Value, Value], Value],
) -> Layer:  # fmt: skip
    lhs, rhs, out = spec
    W_init = W_init or glorot_normal(rhs.index("I"), rhs.index("O"))

    def init(rng: Any, input_shape: Shape) -> Any:
        sizes = iter(filter_shape)
        channels = {"O": out_chan, "I": input_shape[lhs.index("C")]}
        kernel = tuple([channels[c] if c in channels else next(sizes) for c in rhs])
        for_weights, for_bias = random.split(rng)
        bias = tuple([out_chan if c == "C" else 1 for c in out])
        return out_shape(input_shape, kernel), (W_init(for_weights, kernel), b_init(for_bias, bias))

    return init, lambda params, inputs, **kwargs: convolve(inputs, params[0]) + params[1]


def GeneralConv(
    dimension_numbers: Any, out_chan: int, filter_shape: Any, strides: Any = None, padding: Any = "VALID",
    W_init: Any = None, b_init: Any = normal(1e-6),
) -> Layer:  # fmt: skip
    """A convolution, with a bias for each channel; ``dimension_numbers`` names the axes, as in ("NHWC", "HWIO", "NHWC")."""
    one = (1,) * len(filter_shape)
    strides = strides or one
    return _convolution(
        dimension_numbers, out_chan, filter_shape, W_init, b_init,
        lambda x, w: lax.conv_general_shape_tuple(x, w, strides, padding, dimension_numbers),
        lambda x, w: lax.conv_general_dilated(x, w, strides, padding, one, one, dimension_numbers=dimension_numbers),
    )  # fmt: skip


def GeneralConvTranspose(
    dimension_numbers: Any, out_chan: int, filter_shape: Any, strides: Any = None, padding: Any = "VALID",
    W_init: Any = None, b_init: Any = normal(1e-6),
) -> Layer:  # fmt: skip
    """A transposed convolution, with a bias for each channel."""
    strides = strides or (1,) * len(filter_shape)
    return _convolution(
        dimension_numbers, out_chan, filter_shape, W_init, b_init,
        lambda x, w: lax.conv_transpose_shape_tuple(x, w, strides, padding, dimension_numbers),
        lambda x, w: lax.conv_transpose(x, w, strides, padding, dimension_numbers=dimension_numbers),
    )  # fmt: skip


Conv = functools.partial(GeneralConv, ("NHWC", "HWIO", "NHWC"))
ConvTranspose = functools.partial(GeneralConvTranspose, ("NHWC", "HWIO", "NHWC"))
Conv1DTranspose = functools.partial(GeneralConvTranspose, ("NHC", "HIO", "NHC"))


def BatchNorm(
    axis: Any = (0, 1, 2), epsilon: Any = 1e-5, center: bool = True, scale: bool = True, beta_init: Any = zeros,
    gamma_init: Any = ones,
) -> Layer:  # fmt: skip
    """gamma * standardize(x) + beta, with mean and variance over ``axis``; gamma and beta as wanted."""
    axes = (axis,) if np.isscalar(axis) else tuple(axis)

    def init(rng: Any, input_shape: Shape) -> Any:
        shape = tuple([n for i, n in enumerate(input_shape) if i not in axes])
        for_beta, for_gamma = random.split(rng)
        return input_shape, (
            beta_init(for_beta, shape) if center else (),
            gamma_init(for_gamma, shape) if scale else (),
        )

    def apply(params: Any, x: Value, **kwargs: Any) -> Value:
        beta, gamma = params
        spread = tuple([None if i in axes else slice(None) for i in range(x.ndim)])
        z = standardize(x, axes, epsilon=epsilon)
        z = gamma[spread] * z if scale else z
        return z + beta[spread] if center else z

    return init, apply


# ----------------------------------------------------------------------------- layers without parameters


def elementwise(fun: Callable[..., Value], **fun_kwargs: Any) -> Layer:
    """A layer that applies a function to every element."""
    return _stateless(lambda shape: shape, lambda x: fun(x, **fun_kwargs))


Tanh, Exp = elementwise(fnp.tanh), elementwise(fnp.exp)
Relu, Elu, LeakyRelu, Selu, Gelu = (elementwise(f) for f in (relu, elu, leaky_relu, selu, gelu))
Softplus, Sigmoid = elementwise(softplus), elementwise(sigmoid)
LogSoftmax, Softmax = elementwise(log_softmax, axis=-1), elementwise(softmax, axis=-1)
Identity = _stateless(lambda shape: shape, lambda x: x)
Flatten = _stateless(
    lambda shape: (shape[0], math.prod(shape[1:])), lambda x: fnp.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
)


def _pooling(reducer: Any, start: float, mean: bool = False) -> Callable[..., Layer]:
    def pool(window_shape: Any, strides: Any = None, padding: Any = "VALID", spec: str | None = None) -> Layer:
        """The windows of every channel reduced; ``spec`` names the axes, as in "NHWC" (the default)."""
        n = len(window_shape)
        outer = (0, n + 1) if spec is None else (spec.index("N"), spec.index("C"))
        spatial = [i for i in range(n + 2) if i not in outer]

        def full(sizes: Any) -> Shape:
            at = dict(zip(spatial, sizes))
            return tuple([at.get(i, 1) for i in range(n + 2)])

        window, steps = full(window_shape), full(strides or (1,) * n)

        def out_shape(shape: Shape) -> Shape:
            pads = lax.padtype_to_pads(shape, window, steps, padding)
            return tuple(lax.reduce_window_shape_tuple(shape, window, steps, pads))

        def apply(x: Value) -> Value:
            out = lax.reduce_window(x, x.dtype.type(start), reducer, window, steps, padding)
            if not mean:
                return out
            one = fnp.ones([x.shape[i] if i in spatial else 1 for i in range(n + 2)], x.dtype)
            return out / lax.reduce_window(one, x.dtype.type(0), lax.add, window, steps, padding)

        return _stateless(out_shape, apply)

    return pool


MaxPool = _pooling(lax.max, -math.inf)
SumPool = _pooling(lax.add, 0.0)
AvgPool = _pooling(lax.add, 0.0, mean=True)


def FanOut(num: int) -> Layer:
    """``num`` copies of the input, for ``parallel``."""
    return _stateless(lambda shape: [shape] * num, lambda x: [x] * num)


FanInSum = _stateless(lambda shapes: shapes[0], sum)


def FanInConcat(axis: int = -1) -> Layer:
    """Inputs joined along an axis."""

    def shape(shapes: Sequence[Shape]) -> Shape:
        i = axis % len(shapes[0])
        return (*shapes[0][:i], sum(s[i] for s in shapes), *shapes[0][i + 1 :])

    return _stateless(shape, lambda xs: fnp.concatenate(xs, axis))


def Dropout(rate: float, mode: str = "train") -> Layer:
    """In the mode "train": elements kept with probability ``rate``, divided by it, and 0 otherwise.  ``apply`` needs ``rng=``.

    Note that ``rate`` is what is kept, as in JAX's; ``fx.nn.dropout`` takes what is dropped.
    """

    def apply(params: Any, inputs: Value, *, rng: Any = None, **kwargs: Any) -> Value:
        if rng is None:
            raise ArgumentError("Dropout needs a key: apply(params, inputs, rng=key), with a key from fx.random.key")
        if mode != "train":
            return inputs
        return fnp.where(random.bernoulli(rng, rate, inputs.shape), inputs / rate, 0)

    return (lambda rng, input_shape: (input_shape, ())), apply


# --------------------------------------------------------------------------------------- combinations


def _keys(rng: Any, n: int) -> Any:
    return [None] * n if rng is None else random.split(rng, n)


def serial(*layers: Layer) -> Layer:
    """Layers one after the other."""
    inits, applies = zip(*layers)

    def init(rng: Any, input_shape: Any) -> Any:
        params = []
        for layer_init in inits:
            rng, layer_rng = random.split(rng)
            input_shape, layer_params = layer_init(layer_rng, input_shape)
            params.append(layer_params)
        return input_shape, params

    def apply(params: Any, inputs: Any, *, rng: Any = None, **kwargs: Any) -> Any:
        for layer_apply, layer_params, key in zip(applies, params, _keys(rng, len(layers))):
            inputs = layer_apply(layer_params, inputs, rng=key, **kwargs)
        return inputs

    return init, apply


def parallel(*layers: Layer) -> Layer:
    """Layers side by side, each with its own of the inputs; goes with ``FanOut`` and ``FanInSum``."""
    inits, applies = zip(*layers)

    def init(rng: Any, input_shape: Any) -> Iterator[Any]:
        keys = random.split(rng, len(layers))
        return zip(*[layer_init(k, shape) for layer_init, k, shape in zip(inits, keys, input_shape)])

    def apply(params: Any, inputs: Any, *, rng: Any = None, **kwargs: Any) -> list[Any]:
        keys = _keys(rng, len(layers))
        return [f(p, x, rng=k, **kwargs) for f, p, x, k in zip(applies, params, inputs, keys)]

    return init, apply


def shape_dependent(make_layer: Callable[[Any], Layer]) -> Layer:
    """A layer that is made once the shape of its input is known."""
    return (
        lambda rng, input_shape: make_layer(input_shape)[0](rng, input_shape),
        lambda params, inputs, **kwargs: make_layer(inputs.shape)[1](params, inputs, **kwargs),
    )
