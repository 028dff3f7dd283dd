"""The short way into a compiled program: a function written for one signature.

Between a Python call and the native one lie the structure of the arguments, their types, and the structure of the
result.  ``specialise`` writes Python that takes exactly these arguments apart, hands their buffers to a native check of
dtypes, shapes and layout, runs the program, and builds exactly that result.  Whatever it does not expect, it answers with
``MISS``, and the caller takes the general way, which finds or makes another program.

>>> import fx, numpy as np
>>> f = fx.jit(lambda p: p["w"] * 2)
>>> p = {"w": fx.numpy.ones(2)}
>>> f(p), f(p)  # the second call writes the function
(Array([2., 2.], dtype=float32), Array([2., 2.], dtype=float32))
>>> print(f.dispatch_source())  # doctest: +ELLIPSIS
def call(args, kwargs):
    if config.epoch != epoch or state.absorbing or kwargs:
        return MISS
    try:
        t1, = args
        if type(t1) is not dict or len(t1) != 1:
            return MISS
        x0 = t1[k0]
        b0 = x0._buffer
        if x0.weak_type:
            return MISS
    except MISSES:
        return MISS
    if not fits(b0):
        dense = as_dense(b0)
        if dense is None:
            return MISS
        b0, *_ = dense
    r0, = run(b0)
    return own(r0)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import tree
from .array import Array
from .backend import eager
from .config import config
from .ir import Aval
from .trace import state

__all__ = ["MISS", "specialise"]

MISS = object()
MISSES = (AttributeError, IndexError, KeyError, TypeError, ValueError)
MAX_LEAVES = 4000  # beyond, writing the function costs more than it gives


def specialise(
    example: Sequence[Any],
    in_tree: tree.TreeDef,
    avals: Sequence[Aval],
    out_tree: tree.TreeDef,
    weak: Sequence[bool],
    executable: Any,
    captured: Sequence[np.ndarray],
    donate: Sequence[int],
    name: str = "a program",
) -> Callable[[tuple[Any, ...], dict[str, Any]], Any] | None:
    """The function ``call(args, kwargs)`` for arguments like ``example``; None where the general way is needed.

    Args:
        example: the leaves of a call with this signature.
        avals: their types.
        executable: has ``fits(*arrays)``, ``dense(*arrays)`` and ``run(*arrays)``.
        captured: arrays that follow the leaves.
        donate: leaves whose memory the program takes over.
    """
    if not hasattr(executable, "fits") or len(example) + len(weak) > MAX_LEAVES:
        return None
    writer = _Writer(donate)
    if not writer.arguments(in_tree, example, avals):
        return None
    writer.rest(out_tree, weak, captured)
    source = "\n".join(writer.lines)
    scope = {
        **writer.scope, "MISS": MISS, "MISSES": MISSES, "Array": Array, "config": config, "state": state, "asarray": np.asarray,
        "epoch": config.epoch, "fits": executable.fits, "as_dense": executable.dense, "run": executable.run, "own": wrapper(False), "own_weak": wrapper(True),
    }  # fmt: skip
    exec(compile(source, f"{__file__} (written for {name})", "exec"), scope)
    call: Callable[[tuple[Any, ...], dict[str, Any]], Any] = scope["call"]
    call.source = source  # type: ignore[attr-defined]
    return call


@functools.cache
def wrapper(weak: bool) -> Callable[[np.ndarray], Array]:
    """The function that makes an array of a result, whose memory nobody else has."""
    native = eager()
    if native is not None:
        made: Callable[[np.ndarray], Array] = native.wrapper(weak)
        return made

    def own(data: np.ndarray) -> Array:
        x = Array(data, weak)
        x._owned = True
        return x

    return own


class _Writer:
    """Writes the function; ``scope`` holds the objects that its text names."""

    def __init__(self, donate: Sequence[int]) -> None:
        self.donate = donate
        self.lines = ["def call(args, kwargs):"]
        self.scope: dict[str, Any] = {}
        self.leaves = 0
        self.trees = 0
        self.checks: list[str] = []

    def name(self, prefix: str, value: Any) -> str:
        """A name for an object of the text's surroundings."""
        name = f"{prefix}{len(self.scope)}"
        self.scope[name] = value
        return name

    # ------------------------------------------------------------------ arguments

    def arguments(self, in_tree: tree.TreeDef, example: Sequence[Any], avals: Sequence[Aval]) -> bool:
        """Takes the arguments apart down to the buffers ``b0, b1, ...``; False if a leaf is of a kind not known here."""
        positional, named = in_tree.children
        self.example, self.avals = example, avals
        keywords = "" if named.children else " or kwargs"
        self.lines += [
            f"    if config.epoch != epoch or state.absorbing{keywords}:",
            "        return MISS",
            "    try:",
        ]
        known = self._children(positional, "args") and (not named.children or self._take(named, "kwargs"))
        if self.checks:
            self._miss_if(" or ".join(self.checks))
        self.lines += ["        pass"] if not self.leaves and not self.trees else []
        self.lines += ["    except MISSES:", "        return MISS"]
        return known

    def _miss_if(self, condition: str) -> None:
        self.lines += [f"        if {condition}:", "            return MISS"]

    def _take(self, d: tree.TreeDef, x: str) -> bool:
        """Takes the value named ``x`` apart as the structure says."""
        if d.kind is None:
            return self._leaf(x)
        if d.kind is type(None):
            self._miss_if(f"{x} is not None")
            return True
        if d.kind is dict:
            self._miss_if(f"type({x}) is not dict or len({x}) != {len(d.aux)}")
            return all(self._child(c, f"{x}[{self.name('k', k)}]") for k, c in zip(d.aux, d.children))
        self._miss_if(f"type({x}) is not {self.name('K', d.kind)}")
        if d.kind in (tuple, list) or tree.is_namedtuple(d.kind):
            return self._children(d, x)
        children = f"t{self._fresh()}"
        flatten = self.name("flatten", tree.flatten_one_level)
        self.lines.append(f"        {children}, aux = {flatten}({x})")
        self._miss_if(f"not {self.name('same', tree.same_aux)}(aux, {self.name('aux', d.aux)})")
        return self._children(d, children)

    def _fresh(self) -> int:
        self.trees += 1
        return self.trees

    def _children(self, d: tree.TreeDef, x: str) -> bool:
        if not d.children:
            self._miss_if(f"len({x}) != 0")
            return True
        names, first = [], self.leaves
        for c in d.children:
            names.append(f"x{first}" if c.kind is None else f"t{self._fresh()}")
            first += c.num_leaves
        self.lines.append(f"        {', '.join(names)}{',' * (len(names) == 1)} = {x}")
        return all(self._take(c, n) for c, n in zip(d.children, names))

    def _child(self, d: tree.TreeDef, expression: str) -> bool:
        name = f"x{self.leaves}" if d.kind is None else f"t{self._fresh()}"
        self.lines.append(f"        {name} = {expression}")
        return self._take(d, name)

    def _leaf(self, x: str) -> bool:
        """The buffer of a leaf of the kind that the example is of."""
        k = self.leaves
        self.leaves += 1
        value, aval = self.example[k], self.avals[k]
        t = type(value)
        if t is Array:
            self.lines.append(f"        b{k} = {x}._buffer")
            self.checks.append(f"{'not ' if aval.weak else ''}{x}.weak_type")
        elif t is np.ndarray:
            self.lines.append(f"        b{k} = {x}")
        elif t in (bool, float) or isinstance(value, np.generic):
            self._miss_if(f"type({x}) is not {self.name('K', t)}")
            self.lines.append(f"        b{k} = asarray({x}, {self.name('dtype', aval.dtype)})")
        elif t is int:
            info = np.iinfo(aval.dtype)
            if aval.dtype != config.default_int:
                return False
            self._miss_if(f"type({x}) is not int or not {info.min} <= {x} <= {info.max}")
            self.lines.append(f"        b{k} = asarray({x}, {self.name('dtype', aval.dtype)})")
        else:
            return False
        return True

    # ------------------------------------------------------------------ program and result

    def rest(self, out_tree: tree.TreeDef, weak: Sequence[bool], captured: Sequence[np.ndarray]) -> None:
        buffers = ", ".join([*(f"b{k}" for k in range(self.leaves)), *(self.name("c", c) for c in captured)])
        self.lines.append(f"    if not fits({buffers}):")
        if self.leaves:  # of another layout: copied, unless their memory is wanted
            gone = "".join(f" or dense[{k}] is not b{k}" for k in self.donate)
            own = ", ".join(f"b{k}" for k in range(self.leaves))
            self.lines += [
                f"        dense = as_dense({buffers})",
                f"        if dense is None{gone}:",
                "            return MISS",
                f"        {own}, *_ = dense",
            ]
        else:
            self.lines.append("        return MISS")
        if len(self.donate) > 1:  # an array that is donated twice is named in the general way
            ids = ", ".join(f"id(b{k})" for k in self.donate)
            self.lines += [f"    if len({{{ids}}}) != {len(self.donate)}:", "        return MISS"]
        for k in self.donate:
            gift = f"x{k}._give_up()" if type(self.example[k]) is Array else f"x{k}.copy()"
            self.lines += [f"    b{k} = None", f"    b{k} = {gift}"]
        results = ", ".join(f"r{k}" for k in range(len(weak))) + ("," if len(weak) == 1 else "")
        self.lines.append(f"    {results + ' = ' if weak else ''}run({buffers})")
        self.weak = weak
        self.results = 0
        self.lines.append(f"    return {self._build(out_tree)}")

    def _build(self, d: tree.TreeDef) -> str:
        """The expression that builds a result."""
        if d.kind is None:
            k = self.results
            self.results += 1
            return f"{'own_weak' if self.weak[k] else 'own'}(r{k})"
        if d.kind is type(None):
            return "None"
        parts = [self._build(c) for c in d.children]
        if d.kind is tuple:
            return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        if d.kind is list:
            return f"[{', '.join(parts)}]"
        if d.kind is dict:
            return "{" + ", ".join(f"{self.name('k', k)}: {p}" for k, p in zip(d.aux, parts)) + "}"
        build, aux = self.name("build", tree.node_of(d).unflatten), self.name("aux", d.aux)
        return f"{build}({aux}, [{', '.join(parts)}])"
