"""Random programs: a list of steps over a growing pool of values, and the transforms that wrap them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import fx
from fx import lax
from fx.primitives import random_bits


@dataclass(frozen=True)
class Step:
    """``values.append(OPERATIONS[name](*[values[a] for a in args], *params))``."""

    name: str
    args: tuple[int, ...]
    params: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Program:
    """A function of float arrays.  ``constants`` (integers) are closed over; they and the inputs begin the pool."""

    inputs: tuple[np.ndarray, ...]
    constants: tuple[np.ndarray, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def __call__(self, *floats: Any) -> tuple[Any, ...]:
        values = [*floats, *self.constants]
        for s in self.steps:
            values.append(OPERATIONS[s.name](*[values[a] for a in s.args], *s.params))
        return tuple(values[o] for o in self.outputs)

    def __repr__(self) -> str:
        lines = [f"inputs {[x.shape for x in self.inputs]}, constants {[c.shape for c in self.constants]}"]
        n = len(self.inputs) + len(self.constants)
        lines += [
            f"v{n + k} = {s.name}({', '.join(f'v{a}' for a in s.args)}) {s.params}" for k, s in enumerate(self.steps)
        ]
        return "\n".join([*lines, f"return {self.outputs}"])


# ------------------------------------------------------------------------------------- operations


def _dot(x: Any, y: Any, i: int, j: int) -> Any:
    return lax.dot_general(x, y, (((i,), (j,)), ((), ())))


def _like(x: Any, integer: Any) -> Any:
    """Small integers as floats of x's dtype."""
    return lax.convert_element_type(lax.rem(integer, lax.full_like(integer, 7)), x.dtype)


def _rows(x: Any, indices: Any) -> Any:
    numbers = lax.GatherDimensionNumbers(tuple(range(1, x.ndim)), (0,), (0,))
    return lax.gather(x, lax.expand_dims(indices, (1,)), numbers, (1, *x.shape[1:]), mode="clip")


def _add_rows(x: Any, indices: Any, y: Any) -> Any:
    numbers = lax.ScatterDimensionNumbers(tuple(range(1, x.ndim)), (0,), (0,))
    return lax.scatter_add(x, lax.expand_dims(indices, (1,)), y, numbers, mode="fill")


def _at(x: Any, indices: Any, size: int) -> Any:
    start = lax.squeeze(lax.slice(indices, (0,), (1,)), (0,))
    zero = lax.full_like(start, 0)
    return lax.dynamic_slice(x, (start, *[zero] * (x.ndim - 1)), (size, *x.shape[1:]))


def _put(x: Any, indices: Any, y: Any) -> Any:
    start = lax.squeeze(lax.slice(indices, (0,), (1,)), (0,))
    zero = lax.full_like(start, 0)
    return lax.dynamic_update_slice(x, y, (start, *[zero] * (x.ndim - 1)))


def _smooth_along(x: Any, kernel: Any) -> Any:
    line = lax.reshape(x, (1, 1, x.size))
    taps = lax.reshape(kernel, (1, 1, kernel.size))
    return lax.reshape(lax.conv_general_dilated(line, taps, (1,), "SAME"), x.shape)


def _window(name: str) -> Callable[..., Any]:
    return lambda x, window, strides: getattr(lax, f"reduce_window_{name}")(x, window, strides)


def _noise(x: Any, seed: int) -> Any:
    """Uniform numbers in [0, 1) of x's shape, from counters."""
    count = lax.broadcasted_iota(np.uint32, (x.size,), 0)
    key = lax.full_like(count, seed)
    bits, _ = random_bits.threefry2x32(key, key, count, count)
    unit = lax.convert_element_type(lax.shift_right_logical(bits, lax.full_like(bits, 9)), x.dtype)
    return lax.reshape(lax.mul(unit, 2.0**-23), x.shape)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "scale": lambda x, factor: lax.mul(x, factor),
    **{n: getattr(lax, n) for n in ("sin", "cos", "tanh", "logistic", "erf", "exp", "expm1", "atan", "square", "neg", "abs")},
    "root": lambda x: lax.sqrt(lax.add(lax.square(x), 0.5)), "log": lambda x: lax.log1p(lax.square(x)),
    "rsqrt": lambda x: lax.rsqrt(lax.add(lax.square(x), 0.25)), "cube": lambda x: lax.integer_pow(x, 3),
    "add": lax.add, "sub": lax.sub, "mul": lax.mul,
    "div": lambda x, y: lax.div(x, lax.add(lax.square(y), 0.5)), "angle": lambda x, y: lax.atan2(x, lax.add(lax.abs(y), 0.5)),
    "pow": lambda x, y: lax.pow(lax.add(lax.square(x), 0.5), lax.tanh(y)),
    "max": lax.max, "min": lax.min, "clamp": lambda x: lax.clamp(-1.3, x, 0.9),
    "select": lambda k, l, x, y: lax.select(lax.lt(k, l), x, y),
    "broadcast": lax.broadcast_in_dim, "reshape": lax.reshape, "transpose": lax.transpose, "rev": lax.rev, "slice": lax.slice,
    "pad": lambda x, config: lax.pad(x, 0.25, config), "concatenate": lambda *xs: lax.concatenate(xs[:-1], xs[-1]),
    "sum": lax.reduce_sum, "prod": lambda x, axes: lax.reduce_prod(lax.add(lax.mul(lax.tanh(x), 0.25), 1.0), axes),
    "reduce_max": lax.reduce_max, "reduce_min": lax.reduce_min, "cumsum": lax.cumsum, "cummax": lax.cummax,
    "cumlogsumexp": lax.cumlogsumexp, "logsumexp": lambda x, axes: lax.log(lax.reduce_sum(lax.exp(x), axes)),
    "dot": _dot, "sort": lambda x, axis: lax.sort(x, axis), "sort_by": lambda k, x, axis: lax.sort((k, x), axis)[1],
    "argmax": lambda x, axis: _like(x, lax.argmax(x, axis, np.int32)), "top": lambda x, k: lax.top_k(x, k)[0],
    "rows": _rows, "add_rows": _add_rows, "at": _at, "put": _put, "count": _like, "conv": _smooth_along,
    "pool_max": _window("max"), "pool_sum": _window("sum"), "noise": _noise,
}  # fmt: skip


# --------------------------------------------------------------------------------------- transforms

Function = Callable[..., tuple[Any, ...]]


def _gradient(f: Function) -> Function:
    """Of a weighted sum of the outputs, with respect to every input."""

    def total(*xs: Any) -> Any:
        out = lax.mul(lax.reduce_sum(xs[0], tuple(range(xs[0].ndim))), 0.0)
        for k, y in enumerate(f(*xs)):
            weights = lax.cos(lax.reshape(lax.convert_element_type(lax.iota(np.int32, y.size), y.dtype), y.shape))
            out = lax.add(out, lax.reduce_sum(lax.mul(y, lax.mul(weights, 1.0 / (k + 1))), tuple(range(y.ndim))))
        return out

    return lambda *xs: tuple(fx.grad(total, argnums=tuple(range(len(xs))))(*xs))


def _tangents(f: Function) -> Function:
    def both(*xs: Any) -> tuple[Any, ...]:
        out, tangents = fx.jvp(f, xs, tuple(lax.mul(lax.stop_gradient(x), 0.5) for x in xs))
        return *out, *tangents

    return both


def _batched(f: Function) -> Function:
    def over(*xs: Any) -> tuple[Any, ...]:
        pairs = [lax.concatenate([lax.expand_dims(x, (0,)), lax.expand_dims(lax.mul(x, 0.5), (0,))], 0) for x in xs]
        return fx.vmap(f)(*pairs)

    return over


TRANSFORMS: dict[str, Callable[[Function], Function]] = {
    "grad": _gradient, "jvp": _tangents, "vmap": _batched, "checkpoint": fx.checkpoint, "jit": fx.jit,
}  # fmt: skip


def transformed(f: Function, nesting: Sequence[str]) -> Function:
    """``nesting[-1](... nesting[0](f))``."""
    for name in nesting:
        f = TRANSFORMS[name](f)
    return f
