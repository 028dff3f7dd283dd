"""Where a leaf stands in a pytree: the keys that lead to it from the root."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any

__all__ = ["DictKey", "FlattenedIndexKey", "GetAttrKey", "KeyPath", "SequenceKey", "keystr"]

KeyPath = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    """The child of a list or tuple at an index."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"


@dataclasses.dataclass(frozen=True)
class DictKey:
    """The child of a dict under a key."""

    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    """The child that is an attribute."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclasses.dataclass(frozen=True)
class FlattenedIndexKey:
    """A child of a node that does not name its children, by its position among them."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


def keystr(keys: KeyPath, *, simple: bool = False, separator: str = "") -> str:
    """A key path as Python would write it: ``['layers'][0].w``; ``simple``: the bare keys joined by ``separator``."""
    if simple:
        return separator.join(str(next(iter(dataclasses.asdict(k).values()), k)) for k in keys)
    return separator.join(str(k) for k in keys)
