"""``fx.extend.core``: graphs, their parts and the types of values (``fx.core``)."""

from __future__ import annotations

from ..core import (
    Atom,
    ClosedJaxpr,
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
    subjaxprs,
    unmapped_aval,
    valid_jaxtype,
)

__all__ = [
    "Atom", "ClosedJaxpr", "Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var", "concrete_or_error", "find_top_trace", "get_opaque_trace_state",
    "jaxpr_as_fun", "mapped_aval", "subjaxprs", "unmapped_aval", "valid_jaxtype",
]  # fmt: skip
