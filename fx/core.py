"""``fx.core``: types of traced values, and graphs as JAX lays them out, for programs that look at them.

A program that interprets what it traces goes through ``closed.jaxpr.eqns``, reads ``eqn.invars`` from an environment and calls
``eqn.primitive.bind(*values, **eqn.params)``; so can it here, with the primitives and the parameters of fx.

>>> import fx, fx.numpy as fnp
>>> closed = fx.make_jaxpr(lambda x: fnp.exp(fnp.tanh(x)))(1.0)
>>> [eqn.primitive.name for eqn in closed.jaxpr.eqns]
['tanh', 'exp']
>>> eval_jaxpr(closed.jaxpr, closed.consts, 0.0)
[Array(1., dtype=float32, weak_type=True)]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .api.looking import TracedGraph as ClosedJaxpr
from .array import Array
from .dtypes import canonical
from .errors import ConcretizationError, UnsupportedArgumentError
from .ir import Atom, Aval, Literal, Var, subgraphs
from .platform import ensure_compile_time_eval
from .staging.jaxprs import Jaxpr, JaxprEqn
from .trace import Tracer, aval_of, concrete_value, eval_graph, state
from .transforms.custom_primitive import CustomPrimitive as Primitive

__all__ = [
    "AbstractValue", "Atom", "ClosedJaxpr", "DropVar", "Effect", "Jaxpr", "JaxprEqn", "Literal", "Primitive", "ShapedArray", "Trace", "Tracer", "Var", "concrete_or_error",
    "ensure_compile_time_eval", "eval_context", "eval_jaxpr", "find_top_trace", "get_aval", "get_opaque_trace_state", "is_concrete", "jaxpr_as_fun",
    "mapped_aval", "max_dim", "min_dim", "pytype_aval_mappings", "set_current_trace", "subjaxprs", "take_current_trace", "trace_state_clean",
    "unmapped_aval", "valid_jaxtype",
]  # fmt: skip

AbstractValue = Aval
eval_context = ensure_compile_time_eval
max_dim, min_dim = max, min


class _ShapedArrayType(type):
    """``ShapedArray(shape, dtype)`` makes an ``Aval``, and all of them are instances of it."""

    def __call__(cls, shape: Sequence[int], dtype: Any, weak_type: bool = False, **_: Any) -> Aval:
        return Aval(tuple(shape), canonical(dtype), weak_type)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Aval)


class ShapedArray(metaclass=_ShapedArrayType):
    """The type of an array: ``ShapedArray(shape, dtype, weak_type=False)``."""


def get_aval(x: Any) -> Aval:
    """The type of an array, a traced value or a number."""
    return aval_of(x)


pytype_aval_mappings: dict[type, Callable[[Any], Aval]] = dict.fromkeys(
    (Array, Tracer, np.ndarray, bool, int, float, complex), aval_of
)
"""The type of a value, by its class.  Whatever NumPy can read is an array, whether a program enters its class here or not."""


def valid_jaxtype(x: Any) -> bool:
    """Whether ``x`` is an array, a traced value or a number."""
    try:
        aval_of(x)
    except TypeError:
        return False
    return True


def is_concrete(x: Any) -> bool:
    """Whether the numbers of ``x`` are known: it is no traced value, or one that is evaluated as it is traced."""
    return concrete_value(x) is not None


def concrete_or_error(force: Any, x: Any, context: str = "") -> Any:
    """``force(x)`` (None: ``x``) where its value is known.

    Raises:
        ConcretizationError: it is not.
    """
    if not is_concrete(x):
        raise ConcretizationError(f"a known value is needed; found a traced {aval_of(x)}. {context}".rstrip())
    return x if force is None else force(x)


def mapped_aval(size: int, axis: int | None, aval: Aval) -> Aval:
    """The type of one example of a batch of type ``aval``, whose batch axis is ``axis`` (None: it has none)."""
    return aval if axis is None else aval.with_(shape=(*aval.shape[:axis], *aval.shape[axis + 1 :]))


def unmapped_aval(size: int, axis: int | None, aval: Aval) -> Aval:
    """The type of a batch of ``size`` examples of type ``aval``."""
    return aval if axis is None else aval.with_(shape=(*aval.shape[:axis], size, *aval.shape[axis:]))


@dataclass(frozen=True)
class _TraceState:
    """Equal while the same function is being traced."""

    builders: tuple[int, ...]
    axes: tuple[int, ...]


def get_opaque_trace_state(convention: str | None = None) -> Any:
    """What is equal for two places of a program if the same functions are being traced at both."""
    open_ = [*state.absorbing, *([] if state.current is None else [state.current])]
    return _TraceState(tuple([b.level for b in open_]), tuple(map(id, state.axes)))


def find_top_trace(values: Any = ()) -> Any:
    """What is equal to ``x._trace`` of the arguments of the function that is being traced; None outside of all."""
    return state.current


class DropVar(Var):
    """A result that nobody reads, in JAX.  Here each one has its name, so that none is an instance."""


class Effect:
    """The kind of effects that JAX's primitives have; those of an equation here are names."""


class Trace:
    """The base of classes that intercept operations in JAX.  A program can define them; ``set_current_trace`` refuses them."""


@contextmanager
def take_current_trace() -> Iterator[Any]:
    """``with take_current_trace() as trace``: what is being traced, to be given to ``set_current_trace``; None outside of all."""
    yield state.current


@contextmanager
def set_current_trace(trace: Any) -> Iterator[None]:
    """``with set_current_trace(trace)``: values are traced as where ``trace`` was taken.

    Raises:
        UnsupportedArgumentError: ``trace`` is a class of the program's own that intercepts operations.
    """
    if trace is not state.current:
        raise UnsupportedArgumentError(
            f"set_current_trace takes what take_current_trace gave; found {type(trace).__name__}. To act on each operation of a"
            " function, go through the equations of fx.make_jaxpr(f)(x)."
        )
    yield


def trace_state_clean() -> bool:
    """Whether nothing is being traced."""
    return state.current is None and not state.absorbing and not state.axes


def eval_jaxpr(jaxpr: Jaxpr, consts: Sequence[Any], *args: Any, propagate_source_info: bool = True) -> list[Any]:
    """The outputs of a graph: evaluated, or recorded where the arguments are traced."""
    return eval_graph(jaxpr.graph, [*args, *consts])


def jaxpr_as_fun(closed: ClosedJaxpr) -> Any:
    """A graph as a function of flat values, which returns a list."""
    return lambda *args: eval_graph(closed.graph, [*args, *closed.consts])


def subjaxprs(jaxpr: Jaxpr) -> list[Jaxpr]:
    """The graphs that the equations hold (of calls, loops and branches)."""
    return [Jaxpr(g, 0) for e in jaxpr.graph.eqns for _, g in subgraphs(e.params)]
