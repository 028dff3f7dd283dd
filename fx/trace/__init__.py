"""Tracing: from a Python function to a closed Graph.

One tracer, one builder.  A ``Builder`` collects equations; the ``Tracer``s it hands out stand for its
variables.  ``bind`` runs every primitive of the library:

* nothing traced among the arguments: the NumPy reference evaluates it, the result is an ``Array``;
* otherwise the *deepest* builder among the arguments records it.  What does not depend on an inner trace
  therefore stands outside it by itself.  A value that is foreign to the recording builder becomes a
  *capture*, an extra input of its graph.

A builder may also *evaluate* while it records (``grad``, ``jvp``, ``vjp`` outside jit), so Python control flow
on values works; and it may *absorb*: while an absorbing builder is the innermost one, even operations that
do not touch its tracers are recorded there (under jit nothing is computed at trace time; the branches of a
conditional and the body of a checkpoint keep their work to themselves).
"""

from __future__ import annotations

from .applied import Applied, TapeEntry, abstract_of, apply_types, evaluate, is_plain, reference_of
from .axes import NamedAxis, find_axis, named_axes
from .binding import bind, bind_known, eval_graph, read, recording_builder, trace_flat, values_known
from .builder import Builder
from .recipe import Recipe, operands_of
from .source import is_library, locate, named_scope, source_of, source_override, user_source
from .thread_state import state
from .tracer import Tracer
from .values import aval_of, concrete_value, is_concrete, is_python_scalar, is_weak

__all__ = [
    "Applied", "Builder", "NamedAxis", "Recipe", "TapeEntry", "Tracer", "abstract_of", "apply_types", "aval_of", "bind", "bind_known",
    "concrete_value", "eval_graph", "evaluate", "find_axis", "is_concrete", "is_library", "is_plain", "is_python_scalar",
    "is_weak", "locate", "named_axes", "named_scope", "operands_of", "read", "recording_builder", "reference_of", "source_of", "source_override", "state", "trace_flat",
    "user_source", "values_known",
]  # fmt: skip
