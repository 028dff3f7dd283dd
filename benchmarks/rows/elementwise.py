"""Chains of transcendental functions, 10^3 to 10^7 elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..libraries import numpy, torch, traced
from ..row import Data, Goal, Prepared, Row


def _tanh_exp_sin(xp: Any) -> Callable[..., Any]:
    return lambda x: xp.tanh(x) * xp.exp(-x * x) + xp.sin(x)


def _softplus(xp: Any) -> Callable[..., Any]:
    return lambda x: xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, xp.zeros((), dtype=x.dtype))


def _swish_cos(xp: Any) -> Callable[..., Any]:
    return lambda x: x / (1 + xp.exp(-x)) + xp.cos(x) * xp.log(x * x + 1) - xp.sqrt(x * x + 2)


CHAINS = {
    "tanh(x)*exp(-x*x)+sin(x)": _tanh_exp_sin,
    "log1p(exp(-|x|))+max(x,0)": _softplus,
    "swish(x)+cos(x)*log(x*x+1)-sqrt(x*x+2)": _swish_cos,
}


def _copy(data: Data) -> Prepared:
    out = np.empty_like(data["x"])
    return Prepared(lambda: np.copyto(out, data["x"]))


def chain(name: str, n: int, dtype: type) -> Row:
    f = CHAINS[name]
    large = n >= 10**7
    size = np.dtype(dtype).itemsize
    return Row(
        f"{name}, {f'{n:.0e}'.replace('e+0', 'e')} f{8 * size}",
        lambda rng: {"x": rng.standard_normal(n).astype(dtype)},
        traced(lambda lib: f(lib.numpy)) | numpy(f(np)) | torch(f, compiled=True) | ({"copy": _copy} if large else {}),
        goals=(Goal(0.25 if n >= 10**5 else 0.6), *((Goal(1.3, "copy"),) if large else ())),
        nbytes=2.0 * size * n,
    )


ROWS = [
    *(chain("tanh(x)*exp(-x*x)+sin(x)", 10**k, t) for t in (np.float32, np.float64) for k in range(3, 8)),
    *(chain(name, 10**k, np.float32) for name in list(CHAINS)[1:] for k in (3, 5, 7)),
]
