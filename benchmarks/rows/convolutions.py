"""Convolutions: forward, gradient with respect to the image, gradient with respect to the weights.

fx runs channels last, as ``fx.nn`` has it; JAX and PyTorch both ways, and the faster counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..libraries import torch_layouts, traced
from ..row import Data, Goal, Row, f32

_GOALS = (Goal(1.0),)
_LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}
_FIRST = {1: ("NCW", "OIW", "NCW"), 2: ("NCHW", "OIHW", "NCHW")}


@dataclass(frozen=True)
class Case:
    name: str
    batch: int
    channels: int
    size: tuple[int, ...]
    out: int
    k: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: int = 0
    transposed: bool = False

    @property
    def ndim(self) -> int:
        return len(self.size)

    @property
    def out_size(self) -> tuple[int, ...]:
        reach = self.dilation * (self.k - 1)
        if self.transposed:
            return tuple((s - 1) * self.stride + 1 + reach - 2 * self.padding for s in self.size)
        return tuple((s + 2 * self.padding - reach - 1) // self.stride + 1 for s in self.size)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "x": (self.batch, *self.size, self.channels),
            "w": (*(self.k,) * self.ndim, self.channels // self.groups, self.out),
            "g": (self.batch, *self.out_size, self.out),
        }

    @property
    def flops(self) -> float:
        pixels = np.prod(self.size if self.transposed else self.out_size)
        return 2.0 * self.batch * float(pixels) * self.k**self.ndim * self.channels // self.groups * self.out

    @property
    def nbytes(self) -> float:
        return 4.0 * sum(float(np.prod(s)) for s in self.shapes.values())


CASES = [
    Case("3x3 N32 C1->32 28^2", 32, 1, (28, 28), 32, 3),
    Case("3x3 N32 C32->64 26^2", 32, 32, (26, 26), 64, 3),
    Case("3x3 N8 C64->64 56^2", 8, 64, (56, 56), 64, 3, padding=1),
    Case("1x1 N8 C256->64 28^2", 8, 256, (28, 28), 64, 1),
    Case("5x5 N64 C10->20 12^2", 64, 10, (12, 12), 20, 5),
    Case("7x7 stride 2 N4 C3->64 112^2", 4, 3, (112, 112), 64, 7, stride=2, padding=3),
    Case("depthwise 3x3 N8 C64 56^2", 8, 64, (56, 56), 64, 3, groups=64, padding=1),
    Case("dilated 3x3 N8 C32->32 28^2", 8, 32, (28, 28), 32, 3, dilation=2, padding=2),
    Case("transposed 4x4 stride 2 N8 C64->32 14^2", 8, 64, (14, 14), 32, 4, stride=2, padding=1, transposed=True),
    Case("1-d k5 N32 C64->64 256", 32, 64, (256,), 64, 5, padding=2),
]


# --------------------------------------------------------------------------- as each library writes it


def _in_lax(c: Case, lib: Any, numbers: tuple[str, str, str]) -> Callable[[Any, Any], Any]:
    edge = c.dilation * (c.k - 1) - c.padding if c.transposed else c.padding
    return lambda x, w: lib.lax.conv_general_dilated(
        x, w, (1 if c.transposed else c.stride,) * c.ndim, [(edge, edge)] * c.ndim,
        lhs_dilation=(c.stride if c.transposed else 1,) * c.ndim, rhs_dilation=(c.dilation,) * c.ndim,
        dimension_numbers=numbers, feature_group_count=c.groups,
    )  # fmt: skip


def _function(c: Case, wanted: str, numbers: dict[int, tuple[str, str, str]]) -> Callable[[Any], Callable[..., Any]]:
    def write(lib: Any) -> Callable[..., Any]:
        conv = _in_lax(c, lib, numbers[c.ndim])

        def f(x: Any, w: Any, g: Any) -> Any:
            if wanted == "forward":
                return conv(x, w)
            if wanted == "image":
                return lib.vjp(lambda x: conv(x, w), x)[1](g)[0]
            return lib.vjp(lambda w: conv(x, w), w)[1](g)[0]

        return f

    return write


def _channels_first(c: Case, wanted: str) -> dict[str, Any]:
    """JAX on arrays that lie channels first; what is compared lies channels last."""
    n = c.ndim
    spatial = tuple(range(1, n + 1))
    to_first = {"x": (0, n + 1, *spatial), "g": (0, n + 1, *spatial), "w": (n + 1, n, *range(n))}
    to_last = (*range(2, n + 2), 1, 0) if wanted == "weights" else (0, *range(2, n + 2), 1)
    inner = traced(
        _function(c, wanted, _FIRST), name="NCHW", show=lambda r: np.asarray(r).transpose(to_last)
    )["jax:NCHW"]  # fmt: skip

    def write(data: Data) -> Any:
        return inner({k: np.ascontiguousarray(v.transpose(to_first[k])) for k, v in data.items()})

    return {"jax:NCHW": write}


def _in_torch(c: Case, wanted: str) -> Callable[[Any], Callable[..., Any]]:
    geometry = (
        (c.stride,) * c.ndim, (c.padding,) * c.ndim, (c.dilation,) * c.ndim, c.transposed, (0,) * c.ndim, c.groups
    )  # fmt: skip
    mask = [wanted == "image", wanted == "weights", False]

    def write(t: Any) -> Callable[..., Any]:
        if wanted == "forward":
            return lambda x, w, g: t.ops.aten.convolution(x, w, None, *geometry)
        which = 0 if wanted == "image" else 1
        return lambda x, w, g: t.ops.aten.convolution_backward(g, x, w, None, *geometry, mask)[which]

    return write


def _turned(w: Any) -> Any:
    """PyTorch's transposed convolution takes the weights of the convolution that it is the gradient of; and back."""
    return w.swapaxes(0, 1).flip(tuple(range(2, w.ndim)))


def conv(c: Case, wanted: str) -> Row:
    return Row(
        f"conv {c.name}, {wanted}",
        lambda rng: {k: f32(rng, *s) for k, s in c.shapes.items()},
        traced(_function(c, wanted, _LAST))
        | _channels_first(c, wanted)
        | torch_layouts(
            _in_torch(c, wanted), of_weights=wanted == "weights", **({"turn": _turned} if c.transposed else {})
        ),
        goals=_GOALS,
        flops=c.flops,
        nbytes=c.nbytes,
    )


ROWS = [conv(c, wanted) for c in CASES for wanted in ("forward", "image", "weights")]
