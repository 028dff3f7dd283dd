"""Mixed precision: parameters in float32, arithmetic in 16 bits, and the scale that keeps small gradients from vanishing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import dtypes, tree
from .. import numpy as fnp
from ..errors import DTypeError

__all__ = ["Precision", "ScaleState", "precision_of"]

HALF = ("bfloat16", "float16")


@tree.register_dataclass
@dataclass(frozen=True)
class ScaleState:
    """The loss scale, and how many steps in a row it has held."""

    scale: Any
    held: Any


@dataclass(frozen=True)
class Precision:
    """How a step computes: the loss and its gradient in ``compute``, the parameters and the optimizer as they are.

    Floats of the batch are cast as the model is, the targets of a regression too: bfloat16 keeps three digits of them, so scale
    them to about 1 before. Integers stay, and the losses of ``fx.nn`` are summed in float32.

    The loss is multiplied by the scale before its gradient is taken, and the gradient divided by it after. A dynamic
    scale is halved when a gradient is not finite (that step changes nothing else) and doubled after ``interval`` steps
    that were.

    Args:
        compute: "bfloat16" or "float16".
        scale: the loss scale at the start; 1 for none (bfloat16 has the range of float32 and needs none).
        dynamic: whether the scale adapts.
        interval: steps without overflow before it grows.
        factor: what it grows and shrinks by.

    Source: Micikevicius et al., "Mixed precision training", 2018.

    >>> Precision("float16").scale
    32768.0
    """

    compute: str
    scale: float | None = None
    dynamic: bool | None = None
    interval: int = 2000
    factor: float = 2.0

    def __post_init__(self) -> None:
        if self.compute not in HALF:
            raise DTypeError(f"Precision computes in {' or '.join(HALF)}; found {self.compute!r}. For float32: None.")
        small_range = self.compute == "float16"
        object.__setattr__(
            self, "scale", (2.0**15 if small_range else 1.0) if self.scale is None else float(self.scale)
        )
        object.__setattr__(self, "dynamic", small_range if self.dynamic is None else self.dynamic)

    def init(self) -> ScaleState | None:
        """The scale before the first step; None where the scale is always 1."""
        if self.scale == 1 and not self.dynamic:
            return None
        return ScaleState(fnp.asarray(self.scale, "float32"), fnp.zeros((), "int32"))

    def cast(self, values: Any) -> Any:
        """float32 and float64 arrays in ``compute``; everything else as it is."""
        wide = lambda x: dtypes.is_inexact(fnp.asarray(x).dtype) and not dtypes.is_complex(fnp.asarray(x).dtype)
        return tree.map(lambda x: fnp.asarray(x).astype(self.compute) if wide(x) else x, values)

    def next(self, state: ScaleState, finite: Any) -> ScaleState:
        """The scale after a step whose gradient was ``finite`` or not."""
        if not self.dynamic:
            return state
        held = fnp.where(finite, state.held + 1, 0)
        grow = held >= self.interval
        grown = fnp.where(grow, state.scale * self.factor, state.scale)
        shrunk = fnp.maximum(state.scale / self.factor, 1.0)
        return ScaleState(fnp.where(finite, grown, shrunk).astype("float32"), fnp.where(grow, 0, held).astype("int32"))


def precision_of(choice: str | Precision | None) -> Precision | None:
    """A ``Precision``, from its name too."""
    if choice is None or isinstance(choice, Precision):
        return choice
    return Precision(choice if isinstance(choice, str) else getattr(choice, "__name__", str(choice)))
