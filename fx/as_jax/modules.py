"""Modules of JAX's names that hand out what fx has, and the finder that ``import`` gets them from.

A ``StandIn`` holds nothing of its own but the few names of ``names.NAMES``: what is asked for is looked up in the modules of fx that
stand behind it, and kept.  There is one for each name, whether fx is installed or not, so that a package that has taken
one can go on with it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .names import NAMES, ROOMS

__all__ = ["FINDER", "StandIn", "stand_in"]

_FX = sys.modules[__name__.partition(".")[0]]


class StandIn(ModuleType):
    """A module ``jax...``: the names of modules of fx.

    Args:
        name: its name.
        rooms: the modules of fx (or what stands in one's place, as the distributions of ``fx.scipy.stats`` do): the first that has a
            name gives it; there may be none.
    """

    def __init__(self, name: str, rooms: Sequence[Any]) -> None:
        first = rooms[0] if rooms else _FX
        file = getattr(first, "__file__", _FX.__file__)
        super().__init__(name, first.__doc__)
        self.__fx__ = first
        self.__file__ = file
        self.__path__: list[str] = []
        self.__package__ = name
        self.__loader__ = FINDER
        self.__spec__ = ModuleSpec(name, FINDER, origin=file, is_package=True)
        self.__dict__["_rooms"] = tuple(rooms)
        self.__dict__.update(NAMES.get(name, {}))

    def __getattr__(self, name: str) -> Any:
        value = self._found(name)
        self.__dict__[name] = value
        return value

    def _found(self, name: str) -> Any:
        own, why = f"{self.__name__}.{name}", ""
        if not name.startswith("__") or name == "__all__":
            for room in self.__dict__["_rooms"]:
                try:
                    value = getattr(room, name)
                except AttributeError as error:
                    why = f": {error}"
                else:
                    return _imported(_jax_name(value)) if _is_of_fx(value) else value
            if own in ROOMS or own.startswith("jax._src."):
                try:
                    return _imported(own)
                except ModuleNotFoundError:
                    pass
        raise AttributeError(_missing(own) + why)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *(name for room in self._rooms for name in dir(room))})

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}: {self.__fx__.__name__} stands in for it>"


def _missing(name: str) -> str:
    return f"fx stands in for jax here (fx.as_jax), and has no {name!r}"


def _is_of_fx(value: Any) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith("fx.")


def _jax_name(module: ModuleType) -> str:
    return "jax" + module.__name__.removeprefix("fx")


def _is_module(name: str, private: bool) -> bool:
    """Whether fx has a module of that name, which, unless it is ``private``, is what its parent shows: ``fx.config`` is none."""
    try:
        room = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        return False
    parent, _, last = name.rpartition(".")
    return private or getattr(sys.modules[parent], last, room) is room


def _imported(name: str) -> ModuleType:
    """The module ``name``, as ``import`` gives it while fx is installed."""
    return importlib.import_module(name) if FINDER in sys.meta_path else stand_in(name)


@functools.cache
def stand_in(name: str) -> StandIn:
    """The module ``name`` (``jax...`` or ``jaxlib...``).

    Raises:
        ModuleNotFoundError: fx has none that could stand in for it.
    """
    public = "fx" + name.removeprefix("jax").removeprefix("._src")
    if name in ROOMS:
        rooms = ROOMS[name]
    elif name.startswith("jax.") and _is_module(public, private="._src." in name):
        rooms = (public,)
    else:
        raise ModuleNotFoundError(_missing(name), name=public)  # "from jax import X" passes over one of name="jax.X"
    return StandIn(name, [importlib.import_module(room) for room in rooms])


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """What ``import`` asks for ``jax`` and ``jaxlib``, and all below them."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in ("jax", "jaxlib"):
            return None
        return ModuleSpec(name, self, origin=stand_in(name).__file__, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return stand_in(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """It is there already."""


FINDER = _Finder()
