"""What a call costs when there is next to nothing to compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..libraries import eager, traced
from ..row import Goal, Row, f32

_MICRO = 1e-6


def jit_call(leaves: int, limit: float) -> Row:
    return Row(
        f"jit call, {leaves} leaves",
        lambda rng: {"tree": {f"w{k:02}": f32(rng, 2) for k in range(leaves)}},
        traced(lambda lib: lambda tree: {k: v + 1 for k, v in tree.items()}),
        goals=(Goal(limit * _MICRO, "absolute"),),
        scales=False,
    )


_OPS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "sin(x)": lambda xp: xp.sin,
    "x + x": lambda xp: lambda x: x + x,
    "sum(x)": lambda xp: xp.sum,
    "x[1]": lambda xp: lambda x: x[1],
}


def _numpy_of(module: Any) -> Any:
    """The NumPy-like namespace of a library; NumPy and PyTorch are theirs."""
    return getattr(module, "numpy", module) if module.__name__ in ("fx", "jax", "autograd") else module


def eager_op(name: str) -> Row:
    return Row(
        f"eager {name} of 3 elements",
        lambda rng: {"x": f32(rng, 3)},
        eager(lambda m: _OPS[name](_numpy_of(m)), "fx", "numpy", "jax", "torch"),
        goals=(Goal(2.0, "numpy"),),
        scales=False,
    )


def eager_gradient() -> Row:
    def write(m: Any) -> Callable[..., Any]:
        if m.__name__ == "torch":

            def in_torch(x: Any) -> Any:
                x = x.detach().requires_grad_()
                return m.autograd.grad((m.tanh(x) * x).sum(), x)[0]

            return in_torch
        if m.__name__ == "autograd":
            import autograd.numpy as xp
        else:
            xp = _numpy_of(m)
        return m.grad(lambda x: xp.sum(xp.tanh(x) * x))

    return Row(
        "eager grad(sum(tanh(x)*x)) of 3 elements",
        lambda rng: {"x": f32(rng, 3)},
        eager(write, "fx", "autograd", "jax", "torch"),
        goals=(Goal(0.7, "autograd"),),
        scales=False,
    )


ROWS = [
    *(jit_call(n, limit) for n, limit in ((1, 2.5), (10, 6.0), (100, 40.0))),
    *(eager_op(name) for name in _OPS),
    eager_gradient(),
]
