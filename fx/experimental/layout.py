"""``fx.experimental.layout``: how arrays lie in memory, under JAX's names: here always in C order on the one device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError

__all__ = ["Format", "Layout"]


@dataclass(frozen=True)
class Layout:
    """The order of the axes, the slowest first.

    Raises:
        ArgumentError: for any but C order.
    """

    major_to_minor: tuple[int, ...]

    def __post_init__(self) -> None:
        if tuple(self.major_to_minor) != tuple(range(len(self.major_to_minor))):
            raise ArgumentError(f"Layout({self.major_to_minor}): arrays lie in C order here; transpose them instead")


@dataclass(frozen=True)
class Format:
    """A layout (None: any) and a sharding."""

    layout: Layout | None = None
    sharding: Any = None
