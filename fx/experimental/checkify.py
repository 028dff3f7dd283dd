"""Checks of values while a program runs, also inside compiled functions.

``check(pred, message)`` raises where the program runs, in plain functions and in jitted ones.  ``checkify`` turns a function
into a pure one that returns its first error as a value in place of raising it, and can check for more: NaN, division by
zero, indices out of bounds.

>>> import fx, numpy as np
>>> def f(x):
...     check(x > 0, "x must be positive; found {x}", x=x)
...     return fx.numpy.log(x)
>>> error, y = fx.jit(checkify(f))(-1.0)
>>> error.get()
'x must be positive; found -1.0 (`check` failed)'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes, lax, tree
from .. import numpy as fnp
from ..api import make_graph, stop_gradient
from ..array import Array
from ..errors import (
    ArgumentError,
    CheckError,
    DTypeError,
    ShapeError,
)
from ..ir import Eqn, Graph
from ..numpy.core import as_value
from ..primitives.callbacks import debug_callback_p
from ..trace import Tracer, aval_of, bind, concrete_value, read, trace_flat

__all__ = [
    "Error", "JaxRuntimeError", "all_checks", "automatic_checks", "check", "check_error", "checkify", "debug_check",
    "div_checks", "float_checks", "index_checks", "init_error", "nan_checks", "user_checks",
]  # fmt: skip

Value = Any
JaxRuntimeError = CheckError

ErrorCategory = str
"""What a kind of check is named by."""

user_checks = frozenset({"user"})
nan_checks = frozenset({"nan"})
div_checks = frozenset({"div"})
index_checks = frozenset({"index"})
float_checks = nan_checks | div_checks
automatic_checks = float_checks | index_checks
all_checks = automatic_checks | user_checks


# --------------------------------------------------------------------------------------------- errors


@dataclass(frozen=True)
class Site:
    """A place where a program is checked: what its message is made of."""

    text: str
    payload_tree: Any = None

    def message(self, payload: Sequence[Any]) -> str:
        if self.payload_tree is None:
            return self.text.format(*[x.tolist() for x in payload])
        args, kwargs = tree.unflatten(self.payload_tree, [Array(np.asarray(x)) for x in payload])
        return self.text.format(*args, **kwargs) + " (`check` failed)"


@dataclass(frozen=True, eq=False)
class Error:
    """The outcome of a function's checks: a pytree, with a batch axis for each surrounding vmap."""

    _sites: tuple[Site, ...] = ()
    _failed: tuple[Value, ...] = ()
    _payloads: tuple[tuple[Value, ...], ...] = ()

    def get(self) -> str | None:
        """The message of the first check that failed, None if none has; in a batch, of every example."""
        failed = [np.asarray(f) for f in self._failed]
        if not any(f.any() for f in failed):
            return None
        shape = failed[0].shape
        messages = {i: self._message(failed, i) for i in np.ndindex(*shape) if any(f[i] for f in failed)}
        if not shape:
            return messages[()]
        return "\n".join(f"at mapped index {', '.join(map(str, i))}: {m}" for i, m in messages.items())

    def _message(self, failed: Sequence[np.ndarray], index: tuple[int, ...]) -> str:
        first = next(k for k, f in enumerate(failed) if f[index])
        return self._sites[first].message([np.asarray(x)[index] for x in self._payloads[first]])

    def throw(self) -> None:
        """Raises CheckError if a check failed."""
        message = self.get()
        if message is not None:
            raise CheckError(message)

    def __str__(self) -> str:
        return f"Error({self.get()})"


tree.register_pytree_node(
    Error, lambda e: ((e._failed, e._payloads), e._sites), lambda sites, children: Error(sites, *children)
)
init_error = Error()


# --------------------------------------------------------------------------------------------- checks


@dataclass(frozen=True)
class _Check:
    """The callback of a check's equation: (predicate, payload) -> None.

    levels: which of its arguments carry a batch axis, for each vmap around, the innermost first.
    silent: nothing is raised; the check counts under ``checkify`` alone.
    """

    site: Site
    silent: bool = False
    levels: tuple[tuple[bool, ...], ...] = ()

    def batched(self, which: Sequence[bool]) -> _Check:
        return _Check(self.site, self.silent, (*self.levels, tuple(which)))

    def first_failure(self, pred: Value, payload: Sequence[Value], xp: Any = fnp) -> tuple[Value, list[Value]]:
        """Whether any example fails, and what the first that does has to say; ``xp``: NumPy, where the program runs."""
        args = [pred, *payload]
        shapes = [aval_of(x).shape for x in args]
        depth = len(self.levels)
        have = [
            [level[i] for level in reversed(self.levels)] for i in range(len(args))
        ]  # the outermost axis is the first
        sizes = [next((s[sum(h[:k])] for s, h in zip(shapes, have) if h[k]), 1) for k in range(depth)]
        spread = []
        for x, s, h in zip(args, shapes, have):
            own = s[sum(h) :]
            lead = iter(s)
            x = xp.reshape(x, (*[next(lead) if b else 1 for b in h], *own))
            spread.append(xp.reshape(xp.broadcast_to(x, (*sizes, *own)), (int(np.prod(sizes)), *own)))
        bad = ~spread[0]
        if not bad.size:
            return xp.asarray(False), [xp.zeros(x.shape[1:], x.dtype) for x in spread[1:]]
        at = xp.argmax(bad)
        return xp.any(bad), [x[at] for x in spread[1:]]

    def __call__(self, pred: Any, *payload: Any) -> None:
        if self.silent:
            return
        failed, found = self.first_failure(np.asarray(pred), [np.asarray(x) for x in payload], np)
        Error((self.site,), (failed,), (tuple(found),)).throw()


def _bind_check(pred: Any, msg: str, silent: bool, args: Any, kwargs: Any) -> None:
    pred = as_value(pred, "the predicate of check")
    if aval_of(pred).dtype != dtypes.bool_ or aval_of(pred).shape:
        raise DTypeError(f"check takes a boolean scalar; found {aval_of(pred)}. Reduce it: fx.numpy.all(pred).")
    leaves, treedef = tree.flatten((args, kwargs))
    for x in leaves:
        as_value(x, "an argument of check's message")
    bind(debug_callback_p, pred, *leaves, callback=_Check(Site(msg, treedef), silent), name="check")


def check(pred: Any, msg: str, *fmt_args: Any, debug: bool = False, **fmt_kwargs: Any) -> None:
    """Raises CheckError where the program runs and ``pred`` is False; under ``checkify`` the error is returned.

    Args:
        pred: a boolean scalar.
        msg: for ``str.format`` with the arguments that follow, arrays whose values are known when the program runs.
        debug: only count under ``checkify``, as ``debug_check``.
    """
    _bind_check(pred, msg, debug, fmt_args, fmt_kwargs)


def debug_check(pred: Any, msg: str, *fmt_args: Any, **fmt_kwargs: Any) -> None:
    """A ``check`` that does nothing but under ``checkify``."""
    _bind_check(pred, msg, True, fmt_args, fmt_kwargs)


def check_error(error: Error) -> None:
    """Raises the error, if there is one: now, or where the program runs."""
    if not isinstance(error, Error):
        raise ShapeError(f"check_error takes the Error that a checkified function returned; found {error!r}")
    if not any(type(x) is Tracer and concrete_value(x) is None for x in tree.leaves(error)):
        error.throw()
        return
    for site, failed, payload in zip(error._sites, error._failed, error._payloads):
        bind(debug_callback_p, fnp.logical_not(fnp.any(failed)), *payload, callback=_Check(site), name="check")


# ------------------------------------------------------------------------------ checking a graph's equations


@dataclass
class _Event:
    """A check in the course of a program: whether it has failed, and what its message needs."""

    site: Site
    failed: Value
    payload: tuple[Value, ...]


@dataclass
class _Checker:
    """Runs graphs, and notes an event for every check in them.

    enabled: what is checked.  mute: equations with an effect are left out, but for the checks.
    """

    enabled: frozenset[str]
    events: list[_Event]
    mute: bool = False

    def run(self, graph: Graph, inputs: Sequence[Value]) -> list[Value]:
        env: dict[Any, Any] = dict(zip(graph.inputs, inputs, strict=True))
        for e in graph.eqns:
            args = [read(env, a) for a in e.inputs]
            rule = _RULES.get(e.prim.name)
            env.update(zip(e.outputs, rule(self, e, args) if rule else self.plain(e, args)))
        return [read(env, a) for a in graph.outputs]

    def plain(self, e: Eqn, args: Sequence[Value]) -> list[Value]:
        prim: Any = e.prim
        if self.mute and e.effect:
            return []
        out = bind(prim, *args, **e.params)
        outs = list(out) if prim.multiple_results else [out]
        if "nan" in self.enabled and prim.name not in _MOVES:
            bad = [fnp.any(fnp.isnan(o)) for o in outs if dtypes.is_inexact(aval_of(o).dtype)]
            for b in bad:
                self.note(Site(f"nan generated by primitive: {prim.name}."), b)
        return outs

    def note(self, site: Site, failed: Value, payload: Sequence[Value] = ()) -> None:
        self.events.append(_Event(site, stop_gradient(failed), tuple([stop_gradient(as_value(x)) for x in payload])))

    def fresh(self) -> _Checker:
        return _Checker(self.enabled, [], self.mute)

    def sites(self, graph: Graph) -> list[_Event]:
        """The events of a graph, with types in place of values."""
        found = self.fresh()
        trace_flat(lambda *xs: found.run(graph, xs), list(graph.in_avals), kind="checkify", name=graph.name)
        return [_Event(v.site, aval_of(v.failed), tuple([aval_of(x) for x in v.payload])) for v in found.events]


_MOVES = frozenset(
    "reshape transpose broadcast_in_dim concatenate pad slice rev squeeze expand_dims gather dynamic_slice dynamic_update_slice copy"
    " stop_gradient optimization_barrier name select_n real imag".split()
)
"""Primitives that bring no NaN into the world, but carry them about."""


def _check_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    callback = e.params["callback"]
    if not isinstance(callback, _Check):
        return c.plain(e, args)
    if "user" in c.enabled:
        c.note(callback.site, *callback.first_failure(args[0], args[1:]))
    return []


def _div_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    if "div" in c.enabled:
        c.note(Site("division by zero"), fnp.any(fnp.equal(args[1], 0)))
    return c.plain(e, args)


# -------------------------------------------------------------------------------------------- indices


def _note_bounds(
    c: _Checker, shape: tuple[int, ...], indices: Value, axes: Sequence[int], sizes: Sequence[int]
) -> None:
    """``indices`` (..., len(axes)): the starts of windows of the given sizes along the axes of an array."""
    if not axes or not indices.size:
        return
    last = np.array([shape[a] - n for a, n in zip(axes, sizes)], np.int64)
    wide = fnp.astype(indices, np.int64)
    bad = fnp.ravel((wide < 0) | (wide > last))
    at = fnp.argmax(bad)
    axis = fnp.asarray(np.array(axes))[at % len(axes)]
    text = (
        f"out-of-bounds indexing for array of shape {shape}: index {{}} is out of bounds for axis {{}} with size {{}}."
    )
    c.note(Site(text), fnp.any(bad), (fnp.ravel(wide)[at], axis, fnp.asarray(np.array(shape))[axis]))


def _gather_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    if "index" in c.enabled:
        axes, sizes = e.params["dimension_numbers"][2], e.params["slice_sizes"]
        _note_bounds(c, aval_of(args[0]).shape, as_value(args[1]), axes, [sizes[a] for a in axes])
    return c.plain(e, args)


def _scatter_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    if "index" in c.enabled:
        windows, inserted, axes, batching = e.params["dimension_numbers"][:4]
        shape, updates = aval_of(args[0]).shape, aval_of(args[2]).shape
        kept = iter([updates[w] for w in windows])
        sizes = [1 if i in inserted or i in batching else next(kept) for i in range(len(shape))]
        _note_bounds(c, shape, as_value(args[1]), axes, [sizes[a] for a in axes])
    return c.plain(e, args)


def _dynamic_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    if "index" in c.enabled:
        update = e.prim.name == "dynamic_update_slice"
        sizes = aval_of(args[1]).shape if update else e.params["slice_sizes"]
        starts = fnp.stack([as_value(i) for i in args[1 + update :]]) if sizes else fnp.zeros(0, np.int32)
        _note_bounds(c, aval_of(args[0]).shape, starts, range(len(sizes)), sizes)
    return c.plain(e, args)


# ------------------------------------------------------------------------------------ calls and control flow


def _call_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    return c.run(e.params["graph"], args)


def _custom_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    """A function with derivative rules is called as it is, and what is inside is checked beside it.  One that has
    checks of the user's is run in its place, without its rules: as it is, it would raise."""
    graph = e.params["graph"]
    if _Checker(user_checks, []).sites(graph):
        return c.run(graph, args)
    _Checker(c.enabled, c.events, mute=True).run(graph, [stop_gradient(x) for x in args])
    return c.plain(e, args)


def _select(events: Sequence[_Event], values: Sequence[tuple[Value, tuple[Value, ...]]]) -> Iterator[_Event]:
    for event, (failed, payload) in zip(events, values):
        yield _Event(event.site, failed, payload)


def _noted(c: _Checker) -> list[tuple[Value, tuple[Value, ...]]]:
    return [(v.failed, v.payload) for v in c.events]


def _none(events: Sequence[_Event]) -> list[tuple[Value, tuple[Value, ...]]]:
    """What has been noted before anything has run."""
    blank = [tuple([fnp.zeros(a.shape, a.dtype) for a in v.payload]) for v in events]
    return [(fnp.zeros((), np.bool_), p) for p in blank]


def _later(old: Any, new: Any) -> Any:
    """The events of an iteration after those of the earlier ones: the first iteration that fails counts."""
    before = fnp.zeros((), np.bool_)
    for failed, _ in old:
        before = before | failed
    return [
        (fnp.where(before, f, g), tuple([fnp.where(before, x, y) for x, y in zip(p, q)]))
        for (f, p), (g, q) in zip(old, new)
    ]


def _scan_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    graph, n_consts, n_carry = e.params["graph"], e.params["n_consts"], e.params["n_carry"]
    events = c.sites(graph)
    if not events:
        return c.plain(e, args)
    consts, n = args[:n_consts], n_consts + n_carry

    def step(carry: Any, x: Any) -> Any:
        values, noted = carry
        inner = c.fresh()
        outs = inner.run(graph, [*consts, *values, *x])
        return (outs[:n_carry], _later(noted, _noted(inner))), outs[n_carry:]

    options = {k: e.params[k] for k in ("length", "reverse", "unroll")}
    carry = [as_value(x) for x in args[n_consts:n]], _none(events)
    (values, noted), ys = lax.scan(step, carry, [as_value(x) for x in args[n:]], **options)
    c.events += _select(events, noted)
    return [*values, *ys]


def _while_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    cond, body, n_cond, n_body = (e.params[k] for k in ("cond", "body", "n_cond_consts", "n_body_consts"))
    events = [*c.sites(cond), *c.sites(body)]
    if not events:
        return c.plain(e, args)
    cond_consts, body_consts, start = args[:n_cond], args[n_cond : n_cond + n_body], args[n_cond + n_body :]
    n_first = len(c.sites(cond))

    def going(carry: Any) -> Value:
        return c.fresh().run(cond, [*cond_consts, *carry[0]])[0]

    def checked_condition(values: Any) -> Any:
        inner = c.fresh()
        inner.mute = True
        inner.run(cond, [*cond_consts, *values])
        return _noted(inner)

    def step(carry: Any) -> Any:
        values, noted = carry
        inner = c.fresh()
        outs = inner.run(body, [*body_consts, *values])
        return outs, _later(noted, [*checked_condition(values), *_noted(inner)])

    init = [as_value(x) for x in start], _none(events)
    values, noted = lax.while_loop(going, step, init, max_steps=e.params["max_steps"])
    noted = _later(noted, [*checked_condition(values), *_none(events[n_first:])])  # the condition runs once more
    c.events += _select(events, noted)
    return list(values)


def _cond_rule(c: _Checker, e: Eqn, args: Sequence[Value]) -> list[Value]:
    branches = e.params["branches"]
    per_branch = [c.sites(b) for b in branches]
    events = [v for found in per_branch for v in found]
    if not events:
        return c.plain(e, args)

    def branch(k: int) -> Callable[..., Any]:
        def run(*operands: Value) -> Any:
            inner = c.fresh()
            outs = inner.run(branches[k], operands)
            noted = [_noted(inner) if j == k else _none(found) for j, found in enumerate(per_branch)]
            return outs, [v for found in noted for v in found]

        return run

    outs, noted = lax.switch(args[0], [branch(k) for k in range(len(branches))], *[as_value(x) for x in args[1:]])
    c.events += _select(events, noted)
    return list(outs)


_RULES: dict[str, Callable[[_Checker, Eqn, Sequence[Value]], list[Value]]] = {
    "debug_callback": _check_rule, "div": _div_rule, "gather": _gather_rule, "dynamic_slice": _dynamic_rule,
    "dynamic_update_slice": _dynamic_rule, "jit": _call_rule, "checkpoint": _call_rule, "custom_jvp_call": _custom_rule,
    "custom_vjp_call": _custom_rule, "custom_vmap_call": _custom_rule, "scan": _scan_rule, "while": _while_rule, "cond": _cond_rule,
    **dict.fromkeys(("scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max"), _scatter_rule),
}  # fmt: skip


# ------------------------------------------------------------------------------------------ front end


def checkify(f: Callable[..., Any], errors: frozenset[str] = user_checks) -> Callable[..., tuple[Error, Any]]:
    """A function that returns ``(error, f(*args))``, where the error is a value: of the first check that failed, or none.

    It can be jitted, differentiated and mapped; checks inside jit, vmap, grad, scan, while_loop and cond are found.

    Args:
        f: a function that can be traced.
        errors: what is checked: ``user_checks`` (``check``), ``nan_checks``, ``div_checks``, ``index_checks``,
            ``float_checks`` (NaN and division), ``automatic_checks`` (all but the user's), ``all_checks``, and unions of them.

    >>> import fx, numpy as np
    >>> error, _ = checkify(lambda x, i: x[i], index_checks)(np.arange(3.0), np.int32(5))
    >>> error.throw()
    Traceback (most recent call last):
        ...
    fx.errors.CheckError: out-of-bounds indexing for array of shape (3,): index 5 is out of bounds for axis 0 with size 3.
    """
    enabled = frozenset(errors)
    if not enabled <= all_checks:
        raise ArgumentError(
            f"checkify: errors={set(errors)!r} must be made of user_checks, nan_checks, div_checks, index_checks"
        )

    def checked(*args: Any, **kwargs: Any) -> tuple[Error, Any]:
        traced = make_graph(f)(*args, **kwargs)
        checker = _Checker(enabled, [])
        outs = checker.run(traced.graph, [*map(as_value, tree.leaves((args, kwargs))), *traced.consts])
        events = checker.events
        error = Error(
            tuple([v.site for v in events]), tuple([v.failed for v in events]), tuple([v.payload for v in events])
        )
        return error, tree.unflatten(traced.out_tree, outs)

    return checked
