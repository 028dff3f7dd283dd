"""What every special function does first, and the forms that they share.

A function is written as its kernel on floats of one dtype and shape, at least 32 bits wide, with its partial
derivatives beside it (``special``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import dtypes, tree
from ... import numpy as fnp
from ...config import config
from ...errors import DTypeError
from ...lax.branching import cond
from ...lax.control_flow import fori_loop, while_loop
from ...numpy.core import as_type, is_eager, operand, promote_inexact
from ...numpy.series import horner
from ...primitives import elementwise as p
from ...signatures import signature_of
from ...transforms.custom_jvp import custom_jvp

__all__ = ["Value", "floats", "if_any", "log1p_excess", "log1p_less", "repeat", "special", "steps", "sum_terms"]

Value = Any
Kernel = Callable[..., Any]


def floats(name: str, *xs: Any, complex_too: bool = False) -> list[Value]:
    """Operands as floats of one dtype and shape.

    Raises:
        DTypeError: one is complex, where that is not allowed.
    """
    values = promote_inexact(*[operand(x, f"an argument of {name}") for x in xs])
    if dtypes.is_complex(values[0].dtype) and not complex_too:
        raise DTypeError(f"{name} takes real numbers; found {values[0].dtype}")
    return values


def _term(partial: Kernel) -> Kernel:
    """The contribution of one tangent; of a function with several results, to each."""
    return lambda t, out, *primals: tree.map(lambda d: t * d, partial(out, *primals))


def special(*partials: Kernel | None, complex_too: bool = False) -> Callable[[Kernel], Kernel]:
    """Makes a public function of a kernel: it takes array-likes, promotes them, and computes 16-bit floats in float32.

    Args:
        partials: the derivative with respect to each argument, as ``(out, *primals) -> factor``, None where it is
            zero.  Without any, the kernel itself is differentiated.
        complex_too: complex numbers are allowed.
    """

    def decorate(kernel: Kernel) -> Kernel:
        name, run = kernel.__name__, kernel
        if partials:
            run = custom_jvp(kernel)
            run.defjvps(*[None if d is None else _term(d) for d in partials])
        signature = functools.cache(lambda: signature_of(kernel))  # asked for at a call: there are seventy of these

        def compute(*values: Value) -> Any:
            """Where nothing is traced, the kernel at once, its loops as Python's: there is no derivative to attach."""
            if not is_eager(*values):
                return run(*values)
            with config.using(disable_jit=True):
                return kernel(*values)

        @functools.wraps(kernel)
        def function(*args: Any, **kwargs: Any) -> Any:
            bound = signature().bind(*args, **kwargs)
            values = floats(name, *bound.arguments.values(), complex_too=complex_too)
            d = values[0].dtype
            if d.itemsize > 2:
                return compute(*values)
            out = compute(*[as_type(v, dtypes.float32) for v in values])
            return tree.map(lambda v: as_type(v, d), out)

        return function

    return decorate


@functools.cache
def gauss(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss-Legendre rule of n points on [-1, 1]: NumPy's, whose module is imported when they are asked for."""
    return np.polynomial.legendre.leggauss(n)


def repeat(steps: int, body: Callable[..., tuple[Value, ...]], *state: Value, down: bool = False) -> tuple[Value, ...]:
    """``state = body(k, *state)`` for k = 1 ... steps (from the last to the first with ``down``), k as a float."""
    d = state[0].dtype

    def step(i: Value, carry: tuple[Value, ...]) -> tuple[Value, ...]:
        k = p.convert_element_type(steps - i if down else i + 1, d)
        return tuple(body(k, *carry))

    return fori_loop(0, steps, step, state)


def if_any(condition: Value, f: Kernel, *xs: Value) -> Value:
    """``f(*xs)`` where the condition holds for any element, else zeros: an expansion that nobody needs is left out."""
    return cond(fnp.any(condition), f, lambda *ys: fnp.zeros_like(ys[0]), *xs)


def steps(x: Value, single: int, double: int) -> int:
    """How many terms the dtype of ``x`` needs."""
    return double if x.dtype == dtypes.float64 else single


def sum_terms(ratio: Callable[[Value], Value], x: Value, limit: int) -> Value:
    """1 + t_1 + t_2 + ... with t_k = t_{k-1} ratio(k), until no term counts; NaN where that takes more than ``limit``.

    It goes on a little longer than the sum needs, for the sake of its derivatives.
    """
    least = float(fnp.finfo(x.dtype).eps) * 1e-3

    def counts(term: Value, total: Value) -> Value:
        return fnp.abs(term) > least * fnp.abs(total)

    def more(state: tuple[Value, ...]) -> Value:
        k, term, total = state
        return (k <= limit) & fnp.any(counts(term, total))

    def step(state: tuple[Value, ...]) -> tuple[Value, ...]:
        k, term, total = state
        term = term * ratio(p.convert_element_type(k, x.dtype))
        return k + 1, term, total + term

    one = fnp.ones_like(x)
    _, term, total = while_loop(more, step, (1, one, one))
    return fnp.where(counts(term, total), np.nan, total)


_EXCESS = [2 / (2 * k + 3) for k in range(17)][::-1]


def log1p_excess(u: Value) -> Value:
    """(log1p(u) - u) / u**2 for |u| <= 1/2, by the series of 2 artanh(u / (2 + u))."""
    wide = 2 + u
    s = u / wide
    return (s / wide * horner(_EXCESS[-steps(u, 8, 17) :], s * s) - 1) / wide


def log1p_less(u: Value, whole: Value) -> Value:
    """log1p(u) - u, accurate for small u; ``whole`` is 1 + u, accurate where that is small."""
    near = fnp.abs(u) <= 0.5
    small = fnp.where(near, u, 0)
    return fnp.where(near, small * small * log1p_excess(small), fnp.log(whole) - u)
