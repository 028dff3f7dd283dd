"""The graph under construction: its equations, inputs, captures and, where they are known, values."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

import numpy as np

from ..array import Array, to_numpy
from ..config import ALERT, config
from ..dtypes import is_inexact
from ..errors import CustomRuleError, FxError, LeakedTracerError, MissingRuleError
from ..ir import Atom, Aval, Eqn, Graph, Literal, Var, subgraphs
from ..primitive import Primitive
from .applied import Applied, TapeEntry, apply_types, evaluate
from .axes import named_axes
from .source import locate, user_source
from .thread_state import state
from .tracer import Tracer
from .values import aval_of, concrete_value

__all__ = ["Builder"]

_SNAPSHOT_LIMIT = 1 << 20  # bytes; a larger array that is closed over must not be changed while it is traced
_levels = itertools.count(1)
_new_tuple: Any = tuple.__new__
_new: Any = object.__new__
_ndarray = np.ndarray
_ALONE = (True,)


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

    __slots__ = (
        "__weakref__", "_name_inputs", "_names", "absorb", "active", "around", "captures", "contents", "eqns", "evaluate", "forwards", "inputs", "is_plain",
        "keeps_snapshots", "kind", "level", "made", "name", "open", "resumes", "snapshots", "tape", "values",
    )  # fmt: skip

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
        self.contents: dict[tuple[Aval, bytes], int] = {}  # the keys of captured arrays
        self.values: dict[Var, np.ndarray] = {}
        self.forwards: dict[Eqn, Any] = {}
        self.made: list[ref[Tracer]] | None = [] if config.check_tracer_leaks else None
        self.active: set[Var] | None = None  # what depends on an input that a derivative is taken of, if one is
        self.resumes = False  # the derivative goes on from what the ``forward`` rules leave behind
        self.tape: list[TapeEntry] | None = (
            None  # what a walk straight back needs, where one may come (transforms.eager)
        )
        self.around: Builder | None = None
        self.is_plain = evaluate and self.made is None  # what is known is evaluated, and nobody counts tracers

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

    def inputs_of(self, leaves: Sequence[Any]) -> list[Tracer]:
        """``input`` for the type and the value of each leaf."""
        if not self.is_plain:
            return [self.input(aval_of(x), concrete_value(x)) for x in leaves]
        tracers = []
        for x in leaves:
            var = Var(x.aval if type(x) is Array else aval_of(x))
            value = x._buffer if type(x) is Array else concrete_value(x)
            if value is not None:
                self.values[var] = value
            self.inputs.append(var)
            self._names.append("")
            tracers.append(Tracer(self, var, value))
        return tracers

    @property
    def input_names(self) -> list[str]:
        if self._name_inputs is not None:
            self._names[:], self._name_inputs = self._name_inputs(), None
        return self._names

    def _noted(self, tracers: list[Tracer]) -> None:
        assert self.made is not None
        self.made += map(ref, tracers)

    @property
    def main(self) -> Builder:
        """To programs that ask a tracer of JAX for its trace's ``main``: itself."""
        return self

    def check_leaks(self) -> None:
        """With ``config.check_tracer_leaks``: nobody may hold a tracer of this trace, which is over.

        Raises:
            LeakedTracerError: somebody does.
        """
        if not self.made or not any(r() is not None for r in self.made):
            return
        gc.collect()  # a tracer in a cycle that nobody holds is no leak
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
            key = self._key_of_equal(id(x._data), x._data, aval)
            return self._capture(key, x.alias(), aval)  # what it holds now, whatever is assigned to it later
        value = x if isinstance(x, np.ndarray) else Array(to_numpy(x))
        return self._capture(self._key_of_equal(id(x), to_numpy(value), aval), value, aval)

    def _key_of_equal(self, key: int, data: np.ndarray, aval: Aval) -> Any:
        """The key of what was captured with the same contents, else ``key``.

        Index vectors and tables are made anew wherever the function asks for them; as one variable, what is computed from
        them can be seen to be the same.
        """
        if self.evaluate or not self.keeps_snapshots or key in self.captures or data.nbytes > _SNAPSHOT_LIMIT:
            return key
        contents = aval, data.tobytes()
        equal = self.contents.get(contents)
        if equal is not None and not self._written_to(equal):  # else its key stands for what it holds now
            return equal
        self.contents[contents] = key
        return key

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
        self.contents.clear()  # they may name it
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
        atoms: list[Atom] = []
        known: list[Any] = []
        complete = self.evaluate
        atom: Atom
        for a in args:
            if type(a) is Tracer and a.builder is self and self.open:
                atom, value = a.variable, a.value
            else:
                atom = self.atom(a)
                read_once = atom if type(atom) is Literal else a  # a scalar may change after it was read
                value = concrete_value(read_once) if complete else None
            atoms.append(atom)
            known.append(value)
            if value is None:
                complete = False
        avals = tuple([a.aval for a in atoms])
        if complete and self.is_plain and values is None:
            tracer = self._record_known(prim, tuple(atoms), avals, known, params)
            if tracer is not None:
                return tracer
        here = state.__dict__  # of this thread; looked up once
        source = here["source"] or user_source()
        try:
            applied = apply_types(prim, avals, params)
        except FxError as e:
            raise locate(e, source) from None
        if not self.evaluate:
            values = self._constants(prim, args, params, applied.outs)
        elif values is None and complete and not applied.holds_sizes and not (here["axes"] and named_axes(params)):
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

    def record_one(self, prim: Primitive, x: Tracer, **params: Any) -> Any:
        """``record(prim, (x,), params)``, for a tracer of this builder."""
        value, variable = x.value, x.variable
        if value is not None and self.is_plain:
            tracer = self._record_known(prim, (variable,), (variable.aval,), (value,), params)
            if tracer is not None:
                return tracer
        return self.record(prim, (x,), params)

    def record_two(self, prim: Primitive, x: Tracer, y: Tracer) -> Any:
        """``record(prim, (x, y), {})``, for tracers of this builder."""
        known = x.value, y.value
        if known[0] is not None and known[1] is not None and self.is_plain:
            one, two = x.variable, y.variable
            tracer = self._record_known(prim, (one, two), (one.aval, two.aval), known, {})
            if tracer is not None:
                return tracer
        return self.record(prim, (x, y), {})

    def _record_known(
        self, prim: Primitive, atoms: tuple[Atom, ...], avals: tuple[Aval, ...], known: Sequence[Any], params: dict[str, Any]
    ) -> Tracer | None:  # fmt: skip
        """``record`` of the common kind of operation, which has one result and holds no function, on known operands; None for
        others."""
        here = state.__dict__
        if config.watching or (here["axes"] and named_axes(params)):
            return None
        try:
            applied = apply_types(prim, avals, params)
        except FxError as e:
            raise locate(e, here["source"] or user_source()) from None
        if not applied.is_simple:
            return None
        try:
            value = here["run"](applied.run, *known)
        except RuntimeError:  # called in the middle of another call
            return None
        if type(value) is not _ndarray:
            value = np.asarray(value)
        variable = _new(Var)  # what Var(...) and Tracer(...) do, at half the cost
        variable.aval = applied.out
        outputs = (variable,)
        eqn = _new_tuple(Eqn, (prim, atoms, params, outputs, here["source"] or user_source(4), here["scope"], None))
        self.eqns.append(eqn)
        self.values[variable] = value
        active = self.active
        if active is not None and not prim.is_constant and not active.isdisjoint(atoms):
            if self.tape is not None:
                mask = _ALONE if len(atoms) == 1 else tuple([a in active for a in atoms])
                self.tape.append((eqn, applied, mask, known, (value,)))
            if applied.inexact:
                active.add(variable)
        tracer = _new(Tracer)
        tracer.builder, tracer.variable, tracer.value, tracer.home = self, variable, value, here["current"]
        tracer.view_of = tracer.views = None
        return tracer

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
        if len(outputs) == 1 and type(outputs[0]) is Tracer and outputs[0].builder is self:  # the common case
            atoms: tuple[Atom, ...] = (outputs[0].variable,)
        else:
            atoms = tuple([self.atom(o) for o in outputs])
        self.open = self.is_plain = False
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
