"""Applying primitives and graphs to values: evaluated where nothing is traced, recorded otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..array import Array
from ..config import ALERT, config
from ..errors import FxError
from ..ir import Atom, Aval, Graph, Var
from ..primitive import Primitive
from ..sizes import is_sized
from .applied import abstract_of, apply_types, evaluate
from .axes import named_axes
from .builder import Builder
from .source import locate, user_source
from .thread_state import state
from .tracer import Tracer
from .values import aval_of, concrete_value

__all__ = ["bind", "bind_known", "eval_graph", "read", "recording_builder", "trace_flat", "values_known"]


_KNOWN = frozenset((Array,))


def recording_builder(args: Sequence[Any]) -> Builder | None:
    """The builder that records an operation on ``args``: the deepest among theirs and the absorbing one."""
    absorbing = state.absorbing
    builder = absorbing[-1] if absorbing else None
    for a in args:
        if type(a) is Tracer and (builder is None or a.builder.level > builder.level):
            builder = a.builder
    return builder


def values_known() -> bool:
    """True where operations are evaluated: no surrounding trace records them without values."""
    return all(b.evaluate for b in state.absorbing)


def _equation_builder(args: Sequence[Any], params: dict[str, Any]) -> Builder | None:
    """``recording_builder``, but never outside a vmap whose axis the equation names: there it has no meaning."""
    builder = recording_builder(args)
    if state.axes and params:
        for name in named_axes(params):
            axis = next((a for a in reversed(state.axes) if a.name == name), None)
            if axis is not None and axis.builder.open and (builder is None or axis.builder.level > builder.level):
                builder = axis.builder
    return builder


def bind(prim: Primitive, /, *args: Any, **params: Any) -> Any:
    """Applies a primitive to values: evaluates it, or records it in the deepest builder among the arguments."""
    if not ALERT and _KNOWN.issuperset(map(type, args)) and not (params and state.axes):
        out = _evaluated(prim, args, params)
        if out is not None:
            return out
    builder = recording_builder(args) if not params else _equation_builder(args, params)
    if builder is not None:
        return builder.record(prim, args, params)
    avals = tuple([aval_of(a) for a in args])
    try:
        out_aval = abstract_of(prim, avals, params)
    except FxError as e:
        raise locate(e, state.source or user_source()) from None
    outs = evaluate(prim, [concrete_value(a) for a in args], params)
    if prim.multiple_results:
        return [Array(o, a.weak) for o, a in zip(outs, out_aval)]
    return Array(outs[0], out_aval.weak)


Primitive.bind = bind


def _evaluated(prim: Primitive, args: Sequence[Array], params: dict[str, Any]) -> Array | None:
    """``bind`` of the common kind of operation, which has one result and holds no function, on arrays; None for others."""
    avals = tuple([a.aval for a in args])
    try:
        applied = apply_types(prim, avals, params)
    except FxError as e:
        raise locate(e, state.source or user_source()) from None
    if not applied.is_simple:
        return None
    try:
        out = state.run(applied.run, *[a._buffer for a in args])
    except RuntimeError:  # called in the middle of another call
        return None
    return Array(out if type(out) is np.ndarray else np.asarray(out), applied.out.weak)


def bind_known(
    prim: Primitive,
    args: Sequence[Any],
    params: dict[str, Any],
    values: Sequence[np.ndarray],
    avals: Sequence[Aval],
    forward: Any = None,
) -> list[Any]:
    """``bind`` of an operation whose results are known already: records it, computes nothing.  Always a list.

    Args:
        values, avals: the results and their types.
        forward: what the equation's ``jvp_call`` is to get as ``resume``.
    """
    builder = _equation_builder(args, params)
    if builder is None:
        return [Array(v, a.weak) for v, a in zip(values, avals)]
    out = builder.record(prim, args, params, values, forward)
    return out if prim.multiple_results else [out]


def trace_flat(
    f: Callable[..., Sequence[Any]],
    avals: Sequence[Aval],
    *,
    kind: str,
    name: str = "graph",
    absorb: bool = True,
    names: Sequence[str] | None = None,
) -> tuple[Graph, list[Any]]:
    """Traces ``f(*tracers) -> list`` without values; returns the graph and its captures."""
    b = Builder(kind, name, absorb=absorb)
    with b:
        ins = [b.input(a, name=n) for a, n in zip(avals, names or [""] * len(avals))]
        closed = b.close(f(*ins))
        del ins
    b.check_leaks()
    return closed


def eval_graph(graph: Graph, args: Sequence[Any]) -> list[Any]:
    """Applies a graph to values through ``bind``: evaluates or records, whatever the values call for."""
    env: dict[Var, Any] = dict(zip(graph.inputs, args, strict=True))
    old = state.source, state.scope
    try:
        for e in graph.eqns:
            state.source = e.source or old[0]
            state.scope = f"{old[1]}/{e.scope}" if old[1] and e.scope else e.scope or old[1]
            out = bind(e.prim, *[read(env, a) for a in e.inputs], **e.params)  # type: ignore[arg-type]
            for v, o in zip(e.outputs, out if e.prim.multiple_results else (out,)):  # type: ignore[attr-defined]
                env[v] = o
    finally:
        state.source, state.scope = old
    return [read(env, a) for a in graph.outputs]


def read(env: Mapping[Var, Any], a: Atom) -> Any:
    """The value of an atom: a literal stands for its NumPy scalar, or for a weakly typed Array if it is weak."""
    if type(a) is Var:
        return env[a]
    if is_sized(a.value):  # type: ignore[union-attr]
        return a
    return Array(np.asarray(a.value), True) if a.aval.weak else a.value  # type: ignore[union-attr]


def _after_fork() -> None:
    """In a forked child the other threads and their traces are gone."""
    ALERT[:] = [*state.absorbing, *([config] if config.alert else [])]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
