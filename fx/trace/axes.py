"""The axes of the surrounding vmaps, which collectives name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import AxisNameError
from ..ir import Graph, subgraphs
from .thread_state import state

if TYPE_CHECKING:
    from .builder import Builder

__all__ = ["NamedAxis", "find_axis", "named_axes"]


@dataclass(eq=False)
class NamedAxis:
    """A surrounding vmap's axis: its name (None if anonymous), its size, and the builder that traces under it."""

    name: Any
    size: int
    builder: Builder | None = None


def find_axis(name: Any) -> NamedAxis:
    """The innermost surrounding vmap axis of that name.

    Raises:
        AxisNameError: if there is none.
    """
    for axis in reversed(state.axes):
        if axis.name is not None and axis.name == name:
            return axis
    known = [a.name for a in state.axes if a.name is not None]
    raise AxisNameError(
        f"no surrounding vmap has an axis named {name!r} (named axes here: {known or 'none'})."
        f" Call the function under fx.vmap(f, axis_name={name!r})."
    )


def named_axes(params: dict[str, Any]) -> frozenset[Any]:
    """The vmap axes that an equation names: in its ``axis_name``, or inside the graphs that it holds."""
    own = frozenset((params["axis_name"],)) if "axis_name" in params else frozenset()
    return own.union(*[g.memo("named axes", lambda g=g: _axes_in(g)) for _, g in subgraphs(params)])


def _axes_in(graph: Graph) -> frozenset[Any]:
    return frozenset().union(*[named_axes(e.params) for e in graph.eqns])
