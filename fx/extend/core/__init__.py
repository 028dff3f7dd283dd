"""``fx.extend.core``: graphs, their parts and the types of values (``fx.core``); ``primitives``: the operations by name."""

from __future__ import annotations

from ...core import (
    Atom,
    ClosedJaxpr,
    DropVar,
    Effect,
    Jaxpr,
    JaxprEqn,
    Literal,
    Primitive,
    Var,
    concrete_or_error,
    find_top_trace,
    get_opaque_trace_state,
    jaxpr_as_fun,
    mapped_aval,
    set_current_trace,
    subjaxprs,
    take_current_trace,
    unmapped_aval,
    valid_jaxtype,
)
from . import primitives

__all__ = [
    "Atom", "ClosedJaxpr", "DropVar", "Effect", "Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var", "concrete_or_error", "find_top_trace", "get_opaque_trace_state",
    "jaxpr_as_fun", "mapped_aval", "primitives", "set_current_trace", "subjaxprs", "take_current_trace", "unmapped_aval", "valid_jaxtype",
]  # fmt: skip
