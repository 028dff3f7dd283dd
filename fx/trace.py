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

import gc
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, NoReturn
from weakref import ref

import numpy as np

from .array import Array, to_numpy
from .callsite import array_function_for, called_math_function, stores_an_item
from .config import ALERT, config
from .dtypes import SUPPORTED, bool_, complex64, complex128, float64, is_inexact
from .errors import (
    AxisNameError,
    ConcretizationError,
    CustomRuleError,
    DTypeError,
    FxError,
    LeakedTracerError,
    MissingRuleError,
    SideEffectError,
)
from .ir import Atom, Aval, Eqn, Graph, Literal, Source, Var, subgraphs
from .nans import check_results
from .primitive import Primitive
from .silence import quiet
from .sizes import Real, is_sized

__all__ = [
    "Builder",
    "Tracer",
    "aval_of",
    "bind",
    "concrete_value",
    "eval_graph",
    "is_concrete",
    "is_weak",
    "trace_flat",
]

_LIBRARY = os.path.dirname(os.path.abspath(__file__)) + os.sep
_USER_LIKE = tuple(_LIBRARY + d + os.sep for d in ("examples",))


class _State(threading.local):
    """Per thread: the absorbing builders, innermost last; the builder whose function is running (``current``); the scope;
    whether integers that follow from known ones are kept known (``constants``: inside of a ``numpy_program``);
    the source to use instead of the frame's; the axes of the surrounding vmaps that trace (``axes``) and the one that is
    being pushed through a graph (``mapped``)."""

    def __init__(self) -> None:
        self.absorbing: list[Builder] = []
        self.current: Builder | None = None
        self.constants = False
        self.scope: str = ""
        self.source: Source | None = None
        self.axes: list[Any] = []
        self.mapped: list[Any] = []


_CONTENTS = frozenset(("builder", "variable", "value"))
_SNAPSHOT_LIMIT = 1 << 20  # bytes; a larger array that is closed over must not be changed while it is traced

state = _State()
_levels = itertools.count(1)


# ------------------------------------------------------------------------------------- what values are


def scalar_dtype(x: Any) -> np.dtype:
    """The dtype of a new array made from the Python scalar ``x``."""
    if isinstance(x, bool):
        return bool_
    if isinstance(x, int):
        d = config.default_int
        if np.iinfo(d).min <= x <= np.iinfo(d).max:
            return d
        if not -(2**63) <= x < 2**64:
            raise DTypeError(f"the Python integer {x} does not fit 64 bits. Convert it: float(x).")
        return np.dtype(np.int64 if x < 2**63 else np.uint64)
    if isinstance(x, float):
        return config.default_float
    return complex128 if config.default_float == float64 else complex64


def is_python_scalar(x: Any) -> bool:
    """True for bool, int, float, complex themselves (``np.float64`` is a subclass of float and not weak)."""
    return type(x) in (float, int, bool, complex)


def aval_of(x: Any) -> Aval:
    """Shape, dtype and weakness of an array, tracer, literal or number."""
    t = type(x)
    if t is np.ndarray and x.dtype in SUPPORTED:  # the common case
        return Aval(x.shape, x.dtype)
    if t is Tracer or t is Literal or t is Var or t is Array:
        return x.aval
    if is_python_scalar(x):
        return Aval((), scalar_dtype(x), t is not bool)
    if is_sized(x):
        return Aval((), config.default_float if type(x) is Real else config.default_int, True)
    a = to_numpy(x)
    return Aval(a.shape, a.dtype)


def is_weak(x: Any) -> bool:
    """``aval_of(x).weak``."""
    t = type(x)
    if t is np.ndarray:
        return False
    return bool(x.weak_type) if t is Array or t is Tracer else aval_of(x).weak


def is_concrete(x: Any) -> bool:
    """True if ``x`` is not a tracer."""
    return type(x) is not Tracer


def concrete_value(x: Any) -> np.ndarray | None:
    """The NumPy value of ``x``, or None for a tracer whose value is not known while tracing."""
    t = type(x)
    if t is Tracer:
        return x.value
    if t is Array:
        return x._data
    if t is np.ndarray and x.dtype in SUPPORTED:
        return x
    if t is Literal:
        return None if is_sized(x.value) else np.asarray(x.value)
    if is_python_scalar(x):
        return np.asarray(x, scalar_dtype(x))
    return None if is_sized(x) else to_numpy(x)


# ------------------------------------------------------------------------------------------ tracer


class Tracer:
    """Stands for a variable of a graph that is being built.

    ``value`` is its NumPy value where the builder evaluates, else None.  Arithmetic and methods are installed
    by ``fx.numpy``.  ``x[i] = v`` on a tracer is functionalised: the tracer is rebound to the changed array, and so is
    every view of it (``fx.storage``).

    home: the builder whose function was running when the tracer was made.
    view_of: how it reads and writes the array that it is a view of, if it is one.  After a write to that array its
        ``builder``, ``variable`` and ``value`` are empty until someone asks for them.
    views: weak references to the views of this array.
    """

    __slots__ = ("__weakref__", "builder", "home", "value", "variable", "view_of", "views")
    __array_priority__ = 200
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: Builder, var: Var, value: np.ndarray | None) -> None:
        self.builder = builder
        self.variable = var
        self.value = value
        self.home: Builder | None = state.current
        self.view_of: Any = None
        self.views: list[ref[Tracer]] | None = None

    def __getattr__(self, name: str) -> Any:
        """Only reached where an attribute is missing: a view whose array was written to reads it anew."""
        if name in _CONTENTS and self.view_of is not None:
            self._refresh()
            return getattr(self, name)
        raise AttributeError(f"a traced array has no attribute {name!r}")

    def _refresh(self) -> None:
        """Reads a view anew, where its array and the view itself live: not inside a function that merely looks at it."""
        base = self.view_of.base
        level = max(base.builder.level, 0 if self.home is None else self.home.level)
        absorbing = state.absorbing
        state.absorbing = [b for b in absorbing if b.level <= level]
        try:
            self.rebind(self.view_of.read(base))
        finally:
            state.absorbing = absorbing

    @property
    def aval(self) -> Aval:
        return self.variable.aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.variable.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.variable.aval.shape)

    @property
    def size(self) -> int:
        return self.variable.aval.size

    @property
    def nbytes(self) -> int:
        return self.variable.aval.nbytes

    @property
    def itemsize(self) -> int:
        return self.variable.aval.dtype.itemsize

    @property
    def weak_type(self) -> bool:
        return self.variable.aval.weak

    @property
    def is_active(self) -> bool:
        """True if it may depend on an input that a derivative is taken of."""
        return self.builder.active is not None and self.variable in self.builder.active

    def alias(self) -> Tracer:
        """Another tracer of the same variable: an in-place update of one does not show in the other."""
        return Tracer(self.builder, self.variable, self.value)

    def __copy__(self) -> Tracer:
        return self.alias()

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self.alias()

    def rebind(self, new: Tracer) -> None:
        """Makes this tracer stand for another variable (in-place updates, functionalised)."""
        self.builder, self.variable, self.value = new.builder, new.variable, new.value

    def _number(self, what: str, way_out: str) -> np.ndarray:
        self.builder.check_open(self)
        if self.value is not None:
            return self.value
        raise_concretization(self, what, way_out)

    def _check_keeps_derivative(self, caller: FrameType) -> None:
        """Refuses what asks for a number and would silently lose the derivative: ``buffer[i] = x`` with a plain NumPy
        buffer, and ``math.sin(x)`` of what is differentiated.  (``float(x)`` is meant.)"""
        if stores_an_item(caller):
            raise SideEffectError(
                f"a traced {self.aval} was written into a plain NumPy array, which cannot hold it: its derivative would be"
                f" lost. Decorate the function with @fx.numpy_program, make the buffer from a traced array (np.zeros_like(x),"
                f" np.zeros(n, like=x)), or stack the values.\n"
                f"  at {user_source()}"
            )
        name = called_math_function(caller) if self.value is not None and self.is_active else None
        if name is not None:
            raise ConcretizationError(
                f"{name} was called on a traced {self.aval} that {self.builder.kind} of {self.builder.name!r} differentiates."
                f" It computes with the plain number, so its derivative would silently be lost. Use {array_function_for(name)};"
                f" where only the number is wanted, say so: {name}(float(x)).\n  at {user_source()}"
            )

    def __bool__(self) -> bool:
        return bool(self._number("its truth value", WAY_OUT_BRANCH))

    def __int__(self) -> int:
        return int(self._number("an int", WAY_OUT_NUMBER))

    def __float__(self) -> float:
        self._check_keeps_derivative(sys._getframe(1))
        return float(self._number("a float", WAY_OUT_NUMBER))

    def __complex__(self) -> complex:
        self._check_keeps_derivative(sys._getframe(1))
        return complex(self._number("a complex number", WAY_OUT_NUMBER))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.shape:
            raise DTypeError(f"only an integer scalar can be an index; this is {self.aval}")
        return int(self._number("an index (or the end of a range)", WAY_OUT_INDEX))

    def item(self, *args: int) -> Any:
        return self._number("a Python number", WAY_OUT_NUMBER).item(*args)

    def tolist(self) -> Any:
        return self._number("a list of Python numbers", WAY_OUT_NUMBER).tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._check_keeps_derivative(sys._getframe(1))
        value = self._number("a NumPy array", WAY_OUT_NUMPY)
        raise ConcretizationError(
            f"a traced value of type {self.aval} was turned into a plain NumPy array"
            f"{'' if value is None else ' (through np.asarray or a function that NumPy does not let us see)'}:"
            " its derivative would silently be lost. " + WAY_OUT_NUMPY
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d array has no len()")
        return self.shape[0]

    def __format__(self, spec: str) -> str:
        return format(self.value[()], spec) if self.value is not None and not self.shape else repr(self)

    def __repr__(self) -> str:
        value = f", value={self.value}" if self.value is not None and self.size <= 8 else ""
        return f"Tracer<{self.aval} of {self.builder.kind} {self.builder.name}{value}>"

    def block_until_ready(self) -> Tracer:
        return self


WAY_OUT_BRANCH = (
    "Use fx.numpy.where(condition, a, b) or fx.lax.cond for a branch that depends on the value, or name the argument"
    " in jit's static_argnums if it is a Python number that rarely changes."
)
WAY_OUT_NUMBER = "Keep it an array (x.astype(...) converts), or name the argument in jit's static_argnums."
WAY_OUT_INDEX = (
    "Shapes, ranges and slice bounds must be known while tracing: name the argument in jit's static_argnums, or use"
    " fx.lax.dynamic_slice / fx.lax.fori_loop."
)
WAY_OUT_NUMPY = (
    "np.array, np.asarray and other functions that NumPy does not let us see work in a function decorated with"
    " @fx.numpy_program, and the functions of the same names in fx.numpy work everywhere."
)


def raise_concretization(t: Tracer, what: str, way_out: str) -> NoReturn:
    origin = t.builder.origin(t.variable)
    raise ConcretizationError(
        f"Python asked for {what} of a traced {t.aval}, whose value is not known while {t.builder.kind} traces"
        f" {t.builder.name!r}. {origin} {way_out}"
    )


# ----------------------------------------------------------------------------------------- builder


class Builder:
    """Collects the equations of one graph.

    Args:
        kind: the transform that traces ("jit", "grad", "vmap", "linear" ...), for messages.
        name: the function being traced.
        evaluate: compute values while recording, where they are known.
        absorb: record every operation while this is the innermost absorbing builder (``with builder:``).
        snapshots: keep the contents of captured arrays, which the traced function may change in place.
        names: gives the names of the inputs, where ``input`` is not told them; they are for messages and printing.
    """

    active: set[Var] | None = None  # what depends on an input that a derivative is taken of, if one is
    resumes = False  # the derivative goes on from what the ``forward`` rules leave behind
    tape: list[TapeEntry] | None = None  # what a walk straight back needs, where one may come (transforms.eager)
    around: Builder | None = None

    def __init__(
        self, kind: str, name: str = "graph", *, evaluate: bool = False, absorb: bool = False, snapshots: bool = True,
        names: Callable[[], Sequence[str]] | None = None,
    ) -> None:  # fmt: skip
        self.kind = kind
        self.name = name
        self.evaluate = evaluate
        self.absorb = absorb
        self.level = next(_levels)
        self.open = True
        self.eqns: list[Eqn] = []
        self.inputs: list[Var] = []
        self._names: list[str] = []
        self._name_inputs = names
        self.captures: dict[Any, tuple[Any, Var]] = {}
        self.keeps_snapshots = snapshots
        self.snapshots: dict[Any, np.ndarray] = {}
        self.values: dict[Var, np.ndarray] = {}
        self.forwards: dict[Eqn, Any] = {}
        self.made: list[ref[Tracer]] | None = [] if config.check_tracer_leaks else None

    def __enter__(self) -> Builder:
        """While the function runs whose equations it collects."""
        self.around, state.current = state.current, self
        if self.absorb:
            state.absorbing.append(self)
            ALERT.append(self)
        return self

    def __exit__(self, *exc: Any) -> None:
        state.current = self.around
        if self.absorb:
            state.absorbing.pop()
            ALERT.remove(self)

    def input(self, aval: Aval, value: np.ndarray | None = None, name: str = "") -> Tracer:
        """A new input variable, as a tracer."""
        var = Var(aval)
        self.inputs.append(var)
        self._names.append(name)
        value = value if self.evaluate else None
        if value is not None:
            self.values[var] = value
        tracer = Tracer(self, var, value)
        if self.made is not None:
            self._noted([tracer])
        return tracer

    @property
    def input_names(self) -> list[str]:
        if self._name_inputs is not None:
            self._names[:], self._name_inputs = self._name_inputs(), None
        return self._names

    def _noted(self, tracers: list[Tracer]) -> None:
        assert self.made is not None
        self.made += map(ref, tracers)

    def check_leaks(self) -> None:
        """With ``config.check_tracer_leaks``: nobody may hold a tracer of this trace, which is over.

        Raises:
            LeakedTracerError: somebody does.
        """
        if not self.made:
            return
        gc.collect()
        leaked = [t for r in self.made if (t := r()) is not None and t.builder is self]
        if leaked:
            holders = {type(h).__name__ for t in leaked for h in gc.get_referrers(t) if h is not leaked}
            raise LeakedTracerError(
                f"{len(leaked)} traced value{'s' * (len(leaked) > 1)} of {self.kind} {self.name!r} ({leaked[0].aval}) outlived"
                f" the trace. {self.origin(leaked[0].variable)} Held by: {', '.join(sorted(holders)) or 'a frame'}."
                " Return the value instead of storing it."
            )

    def check_open(self, t: Tracer) -> None:
        b = t.builder
        if not b.open:
            raise LeakedTracerError(
                f"a traced value ({t.aval}) was used after {b.kind} had finished tracing {b.name!r}. {b.origin(t.variable)}"
                " It was probably stored in a global, an attribute or a list by the traced function, or written into an"
                " array of the function around it: return it instead."
            )

    def atom(self, x: Any) -> Atom:
        """The variable or literal that stands for ``x`` in this graph: a known scalar is a literal, other foreign
        values become captures."""
        t = type(x)
        if t is Tracer:
            self.check_open(x)
            if x.builder is self:
                return x.variable
            return self._capture(x.variable, x.alias(), x.aval)
        if t is Literal:
            return x
        aval = aval_of(x)
        if not aval.shape:
            return Literal(x._data if t is Array else x, aval)
        if t is Array:
            return self._capture(id(x._data), x, aval)
        return self._capture(id(x), x if isinstance(x, np.ndarray) else Array(to_numpy(x)), aval)

    def _capture(self, key: Any, value: Any, aval: Aval) -> Var:
        if key in self.captures:
            if not self._written_to(key):
                return self.captures[key][1]
            self._keep_snapshot(key)
        var = Var(aval)
        self.captures[key] = (value, var)
        if self.active is not None and type(value) is Tracer and value.is_active:
            self.active.add(var)
        data = concrete_value(value) if type(value) is not Tracer or self.evaluate else None
        if data is not None:
            if self.evaluate:
                self.values[var] = data
            if self.keeps_snapshots and type(value) is not Tracer and data.nbytes <= _SNAPSHOT_LIMIT:
                self.snapshots[key] = _without_repeats(data).copy()
        return var

    def _written_to(self, key: Any) -> bool:
        """True if a captured NumPy array has been changed in place since: ``w[i] = ...`` on a buffer of constants."""
        snapshot = self.snapshots.get(key)
        if snapshot is None:
            return False
        data = concrete_value(self.captures[key][0])
        return data is not None and _without_repeats(data).tobytes() != snapshot.tobytes()

    def _keep_snapshot(self, key: Any) -> None:
        """What was captured keeps the contents that it had; the array may be captured anew."""
        _, var = self.captures.pop(key)
        self.tape = None  # it holds the array, not what the array held
        snapshot = np.broadcast_to(self.snapshots.pop(key), var.aval.shape)
        self.captures[var] = (Array(snapshot), var)
        if self.evaluate:
            self.values[var] = snapshot

    def record(
        self,
        prim: Primitive,
        args: Sequence[Any],
        params: dict[str, Any],
        values: Sequence[Any] | None = None,
        forward: Any = None,
    ) -> Any:
        """Appends an equation; returns the tracer(s) of its result.  ``values``: the result, where it is known;
        ``forward``: what its derivative may resume from."""
        here = state.__dict__  # of this thread; looked up once
        atoms: list[Atom] = []
        avals: list[Aval] = []
        known: list[Any] = []
        complete = self.evaluate
        for a in args:
            if type(a) is Tracer and a.builder is self and self.open:
                atom, value = a.variable, a.value
            else:
                atom = self.atom(a)
                read_once = atom if type(atom) is Literal else a  # a scalar may change after it was read
                value = concrete_value(read_once) if complete else None
            atoms.append(atom)
            avals.append(atom.aval)
            known.append(value)
            if value is None:
                complete = False
        source = here["source"] or user_source()
        try:
            applied = apply_types(prim, tuple(avals), params)
        except FxError as e:
            raise locate(e, source) from None
        if not self.evaluate:
            values = self._constants(prim, args, params, applied.outs)
        elif values is None and complete and not (here["axes"] and named_axes(params)):
            values, forward = self._evaluate(prim, atoms, known, params, applied)
        effect = prim.effect
        if applied.pulls is None and effect is None:
            effect = next((x for _, g in subgraphs(params) for x in g.effects), None)
        several = prim.multiple_results
        outputs = tuple([Var(a) for a in applied.outs]) if several else (Var(applied.out),)
        eqn = _new_tuple(Eqn, (prim, tuple(atoms), params, outputs, source, here["scope"], effect))
        self.eqns.append(eqn)
        if self.active is not None and not prim.is_constant and not self.active.isdisjoint(atoms):
            self._activate(eqn, applied, known if complete else None, values)
        if forward is not None:
            self.forwards[eqn] = forward
        if not several and self.made is None:
            (variable,) = outputs
            value = None if values is None else values[0]
            if value is not None and self.evaluate:
                self.values[variable] = value
            return Tracer(self, variable, value)
        if self.evaluate and values is not None:
            self.values.update(zip(outputs, values))
        tracers = [Tracer(self, v, value) for v, value in zip(outputs, values or (None,) * len(outputs))]
        if self.made is not None:
            self._noted(tracers)
        return tracers if several else tracers[0]

    def _activate(self, eqn: Eqn, applied: Applied, known: Sequence[Any] | None, values: Sequence[Any] | None) -> None:
        """Notes that the results depend on what a derivative is taken of.

        Goes on with the tape, or gives it up: for an operation that holds a function, or whose values are not known.
        """
        active = self.active
        assert active is not None
        if self.tape is not None:
            if applied.pulls is None or known is None or values is None:
                self.tape = None
            else:
                inputs = eqn.inputs
                mask = (True,) if len(inputs) == 1 else tuple([a in active for a in inputs])
                self.tape.append((eqn, applied, mask, known, values))
        if applied.inexact:
            if len(eqn.outputs) == 1:
                active.add(eqn.outputs[0])
            else:
                active.update([v for v in eqn.outputs if is_inexact(v.aval.dtype)])

    def _constants(
        self, prim: Primitive, args: Sequence[Any], params: dict[str, Any], avals: Sequence[Aval]
    ) -> Sequence[Any] | None:
        """Integers and truth values that follow from known ones: what loops and indices of a NumPy program are made of."""
        if not state.constants or prim.effect or any(a.dtype.kind not in "iub" for a in avals):
            return None
        if any(type(a) is Tracer and a.value is None for a in args):
            return None
        if state.axes and named_axes(params):
            return None
        return None if subgraphs(params) else evaluate(prim, [concrete_value(a) for a in args], params)

    def _evaluate(
        self, prim: Primitive, atoms: Sequence[Atom], known: Sequence[Any], params: dict[str, Any], applied: Applied
    ) -> tuple[Sequence[Any], Any]:
        """The values of an equation, and what its derivative may resume from."""
        if applied.pulls is not None and not config.watching and not prim.multiple_results:  # the common case
            try:
                out = quiet.run(applied.run, *known, **params)
                return [out if type(out) is np.ndarray else np.asarray(out)], None
            except RuntimeError:  # called in the middle of another call
                pass
        if applied.pulls is None and self.resumes and self.active is not None and prim.has("forward"):
            wrt = tuple([a in self.active for a in atoms])
            if any(wrt):
                try:
                    return prim.rule("forward")(known, wrt, **params)
                except (MissingRuleError, CustomRuleError):
                    pass  # ``active`` is an upper bound (stop_gradient is in it): the derivative may not be needed
        return evaluate(prim, known, params), None

    def close(self, outputs: Sequence[Any]) -> tuple[Graph, list[Any]]:
        """The finished graph and the values of its captures, which are its last inputs."""
        atoms = self.finish(outputs)
        return self.graph(atoms), [value for value, _ in self.captures.values()]

    def finish(self, outputs: Sequence[Any]) -> tuple[Atom, ...]:
        """Ends the trace; what stands for its outputs."""
        atoms = tuple([self.atom(o) for o in outputs])
        self.open = False
        if self.snapshots:
            for key in [k for k in self.snapshots if self._written_to(k)]:
                self._keep_snapshot(key)
            self.snapshots.clear()
        return atoms

    def graph(self, outputs: tuple[Atom, ...]) -> Graph:
        """The graph of the finished trace."""
        captured = [v for _, v in self.captures.values()]
        names = (*self.input_names, *("" for _ in captured))
        return Graph((*self.inputs, *captured), tuple(self.eqns), outputs, self.name, names)

    def origin(self, var: Var) -> str:
        """A sentence that says where a variable comes from: its arguments and the line that computed it."""
        where = {v: e for e in self.eqns for v in e.outputs}
        seen: set[Var] = set()
        todo = [var]
        while todo:
            v = todo.pop()
            if v not in seen:
                seen.add(v)
                todo += [a for a in where[v].inputs if isinstance(a, Var)] if v in where else []
        names = [n or f"argument {i}" for i, (v, n) in enumerate(zip(self.inputs, self.input_names)) if v in seen]
        made = where.get(var)
        text = f"It was computed by {made.prim.name!r} at {made.source}" if made is not None and made.source else "It"
        if names:
            listed = ", ".join(repr(n) for n in names[:5]) + (" ..." if len(names) > 5 else "")
            text += (" and depends on " if made is not None and made.source else " is or depends on ") + listed
        return text + "." if text != "It" else ""


def _without_repeats(a: np.ndarray) -> np.ndarray:
    """What an array holds, once: a scalar that was broadcast has one element, however large its shape is."""
    return a[tuple([slice(0, 1) if stride == 0 else slice(None) for stride in a.strides])]


# -------------------------------------------------------------------------------------------- bind


class Applied:
    """A primitive applied to operands of certain types.

    out: what the abstract rule says.       outs: the same as a tuple.      inexact: some of them may carry a derivative.
    run: the NumPy reference, for callers that have turned the warnings off.
    pulls: the functions that pull cotangents back through it, kept by ``transforms.eager``; None where it holds functions or
        graphs, or has a derivative of another kind.
    """

    __slots__ = ("inexact", "out", "outs", "pulls", "run")

    def __init__(self, prim: Primitive, out: Any, plain: bool) -> None:
        self.out = out
        self.outs: tuple[Aval, ...] = tuple(out) if prim.multiple_results else (out,)
        self.inexact = any(is_inexact(a.dtype) for a in self.outs)
        self.pulls: dict[Any, Any] | None = (
            {} if plain and not prim.has("jvp_call") and not prim.has("forward") else None
        )
        reference = prim.rule("impl") if prim.has("impl") else None
        self.run: Any = getattr(reference, "loud", reference)


TapeEntry = tuple[Eqn, Applied, tuple[bool, ...], Sequence[Any], Sequence[Any]]  # with mask, operands and results
_new_tuple: Any = tuple.__new__
_applied: dict[Any, Applied] = {}
_MEMO_LIMIT = 8192
_PLAIN = frozenset(
    (int, bool, str, float, Aval, type(None), np.dtype, *(type(np.dtype(c)) for c in "?bhilqBHILQefdFD"))
)


def _after_fork() -> None:
    """In a forked child the other threads and their traces are gone."""
    ALERT[:] = [*state.absorbing, *([config] if config.watching else [])]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def is_plain(v: Any) -> bool:
    if type(v) is tuple:
        return _PLAIN.issuperset(map(type, v)) or all(map(is_plain, v))
    return type(v) in _PLAIN


def apply_types(prim: Primitive, avals: tuple[Aval, ...], params: dict[str, Any]) -> Applied:
    """What is known of an operation by its types alone, remembered: a program applies the same one many times."""
    if not params:
        key: Any = (prim, avals)
    else:
        for v in params.values():
            if type(v) not in _PLAIN and not is_plain(v):  # a graph or a function must not be kept alive
                return Applied(prim, _abstract(prim, avals, params), False)
        key = (prim, avals, *params.items())
    try:
        return _applied[key]
    except KeyError:
        if len(_applied) > _MEMO_LIMIT:
            _applied.clear()
        out = _applied[key] = Applied(prim, _abstract(prim, avals, params), True)
        return out
    except TypeError:  # an unhashable parameter
        return Applied(prim, _abstract(prim, avals, params), False)


def abstract_of(prim: Primitive, avals: tuple[Aval, ...], params: dict[str, Any]) -> Any:
    """What the primitive's abstract rule says, and whether it is weak."""
    return apply_types(prim, avals, params).out


def _abstract(prim: Primitive, avals: tuple[Aval, ...], params: dict[str, Any]) -> Any:
    out = prim.rule("abstract")(*avals, **params)
    if prim.typed_by is None:
        return out
    weak = out.dtype != bool_ and prim.is_weak([a.weak for a in avals])
    return out if out.weak == weak else out.with_(weak=weak)


def evaluate(prim: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> list[np.ndarray]:
    """Runs a primitive's NumPy reference; always a list of ndarrays."""
    found = prim.rule("impl")(*arrays, **params)
    outs = [o if type(o) is np.ndarray else np.asarray(o) for o in (found if prim.multiple_results else (found,))]
    if config.watching and not subgraphs(params):  # what stands in a graph is checked there
        check_results(prim.name, arrays, outs, state.source or user_source())
    return outs


def recording_builder(args: Sequence[Any]) -> Builder | None:
    """The builder that records an operation on ``args``: the deepest among theirs and the absorbing one."""
    absorbing = state.absorbing
    builder = absorbing[-1] if absorbing else None
    for a in args:
        if type(a) is Tracer and (builder is None or a.builder.level > builder.level):
            builder = a.builder
    return builder


def named_axes(params: dict[str, Any]) -> frozenset[Any]:
    """The vmap axes that an equation names: in its ``axis_name``, or inside the graphs that it holds."""
    own = frozenset((params["axis_name"],)) if "axis_name" in params else frozenset()
    return own.union(*[g.memo("named axes", lambda g=g: _axes_in(g)) for _, g in subgraphs(params)])


def _axes_in(graph: Graph) -> frozenset[Any]:
    return frozenset().union(*[named_axes(e.params) for e in graph.eqns])


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


def bind(prim: Primitive, *args: Any, **params: Any) -> Any:
    """Applies a primitive to values: evaluates it, or records it in the deepest builder among the arguments."""
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


def locate(error: FxError, source: Source | None) -> FxError:
    """Adds the user's line to an error's message, once."""
    if source is not None and error.args and "\n  at " not in str(error.args[0]):
        error.args = (f"{error.args[0]}\n  at {source}", *error.args[1:])
    return error


def is_library(file: str) -> bool:
    """True for the library's own files (its examples are a user's)."""
    known = _ours.get(file)
    if known is None:
        known = _ours[file] = file.startswith(_LIBRARY) and not file.startswith(_USER_LIKE)
    return known


def user_source() -> Source | None:
    """The innermost frame that is not the library's own."""
    f: Any = sys._getframe(1)
    while f is not None:
        code = f.f_code
        own = _ours.get(code.co_filename)
        if own is None:
            own = is_library(code.co_filename)
        if not own:
            return _source_at(f, code)
        f = f.f_back
    return None


_ours: dict[str, bool] = {}  # by file
_sources: dict[tuple[int, int], tuple[CodeType, Source]] = {}  # by the code's identity and the instruction


def _source_at(f: FrameType, code: CodeType) -> Source:
    """The line that a frame is at; finding it in the code's table takes long, and the same places come again and again."""
    at = id(code), f.f_lasti
    found = _sources.get(at)
    if found is None or found[0] is not code:
        if len(_sources) > _MEMO_LIMIT:
            _sources.clear()
        found = _sources[at] = code, Source(code.co_filename, f.f_lineno, code.co_name)
    return found[1]


@contextmanager
def source_override(source: Source | None) -> Iterator[None]:
    """Equations recorded inside carry ``source`` instead of the current user frame."""
    old, state.source = state.source, source or state.source
    try:
        yield
    finally:
        state.source = old


@contextmanager
def named_scope(name: str) -> Iterator[None]:
    """Equations recorded inside carry ``name`` in their scope, shown by printed graphs and ``explain()``."""
    old = state.scope
    state.scope = f"{old}/{name}" if old else name
    try:
        yield
    finally:
        state.scope = old


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


# --------------------------------------------------------------------------------- graphs as functions


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
