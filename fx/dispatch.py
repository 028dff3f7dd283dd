"""The short way into a compiled program: a function written for one signature.

Between a Python call and the native one lie the structure of the arguments, their types, and the structure of the
result.  ``specialise`` writes Python that takes exactly these arguments apart, hands them to a native function (``launch``) that
checks dtypes, shapes and layout, runs the program and wraps its results, and builds exactly that result.  Where a call is more
than that (memory that is donated and may have to be copied), the check (``fits``), the program and the wrapping are functions
one by one.  Whatever it does not expect, it answers with ``MISS``, and the caller takes the general way, which finds or
makes another program.

>>> import fx, numpy as np
>>> f = fx.jit(lambda p: p["w"] * 2)
>>> p = {"w": fx.numpy.ones(2)}
>>> f(p), f(p)  # the second call writes the function
(Array([2., 2.], dtype=float32), Array([2., 2.], dtype=float32))
>>> print(f.dispatch_source())  # doctest: +ELLIPSIS
def call(args, kwargs):
    if config.epoch != epoch or (ALERT and state.absorbing) or kwargs:
        return MISS
    try:
        t1, = args
        if type(t1) is not dict or len(t1) != 1:
            return MISS
        x0 = t1[k0]
    except MISSES:
        return MISS
    r0 = launch(x0)
    if r0 is None:
        r0 = launch_dense(x0)
        if r0 is None:
            return MISS
    return r0
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from types import CodeType
from typing import Any

import numpy as np

from . import tree
from .array import Array
from .backend import eager
from .config import ALERT, config
from .ir import Aval
from .trace import state

__all__ = ["MISS", "specialise"]

MISS = object()
MISSES = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_ARRAYS = frozenset((Array, np.ndarray))
_FEW = 8
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
        captured: arrays that follow the leaves, dense and aligned.
        donate: leaves whose memory the program takes over.
    """
    if not hasattr(executable, "fits") or len(example) + len(weak) > MAX_LEAVES:
        return None
    native, launch = eager(), None
    if native is not None:
        kinds = [a.weak if type(x) is Array else None for x, a in zip(example, avals)]
        launch = native.launcher(executable, kinds, captured, weak, donate)
    writer = _Writer(donate, launch)
    if not writer.arguments(in_tree, example, avals):
        return None
    writer.rest(out_tree, weak, captured)
    source = "\n".join(writer.lines)
    scope = {
        **writer.scope, "MISS": MISS, "MISSES": MISSES, "ALERT": ALERT, "config": config, "state": state, "asarray": np.asarray,
        "epoch": config.epoch, "fits": executable.fits, "as_dense": executable.dense, "run": executable.run, "own": wrapper(False),
        "own_weak": wrapper(True), "launch": launch, "launch_dense": partial(_launch_dense, launch, executable.dense, captured, donate),
    }  # fmt: skip
    exec(_compiled(source, name), scope)
    call: Callable[[tuple[Any, ...], dict[str, Any]], Any] = scope["call"]
    call.source = source  # type: ignore[attr-defined]
    return call


@functools.lru_cache(maxsize=256)
def _compiled(source: str, name: str) -> CodeType:
    """The code of a source: that of a structure is the same for all shapes."""
    return compile(source, f"{__file__} (written for {name})", "exec")


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


def _launch_dense(launch: Any, dense: Any, captured: Sequence[np.ndarray], donate: Sequence[int], *leaves: Any) -> Any:
    """``launch`` with copies of the arrays that are laid out otherwise than kernels take them; None if that is not the reason
    why it did nothing, or one of them is donated.  An array that repeats one number keeps its copy."""
    given = _with_dense_buffers(leaves, dense, captured, donate)
    return None if given is None else launch(*given)


def _with_dense_buffers(
    leaves: Sequence[Any], dense: Any, captured: Sequence[np.ndarray], donate: Sequence[int]
) -> list[Any] | None:
    """The leaves, with copies in place of those that ``launch`` does not take; a function of its own, so that nothing refers to
    a donated buffer while ``launch`` looks."""
    buffers = [x._buffer if type(x) is Array else x for x in leaves]
    copies = dense(*buffers, *captured)
    if copies is None or all(c is b for c, b in zip(copies, buffers)):
        return None
    if any(copies[k] is not buffers[k] for k in donate):
        return None
    given = []
    for x, c, b in zip(leaves, copies, buffers):
        if c is b or type(x) is not Array:
            given.append(x if c is b else c)
            continue
        if b is not None and b.ndim and not any(b.strides):
            x._exchange(c)
        given.append(Array(c, x.weak_type))
    return given


class _Writer:
    """Writes the function; ``scope`` holds the objects that its text names."""

    def __init__(self, donate: Sequence[int], launch: Callable[..., Any] | None) -> None:
        self.donate = donate
        self.launch = launch
        self.lines = ["def call(args, kwargs):"]
        self.scope: dict[str, Any] = {}
        self.leaves = 0
        self.trees = 0
        self.checks: list[str] = []
        self.inputs: list[str] = []
        self.buffers: list[str] = []  # lines that take launched arrays apart, for when that did nothing
        self.weakness: list[str] = []  # conditions under which they are not of the wanted weakness

    def name(self, prefix: str, value: Any) -> str:
        """A name for an object of the text's surroundings."""
        name = f"{prefix}{len(self.scope)}"
        self.scope[name] = value
        return name

    # ------------------------------------------------------------------ arguments

    def arguments(self, in_tree: tree.TreeDef, example: Sequence[Any], avals: Sequence[Aval]) -> bool:
        """Takes the arguments apart down to the buffers ``b0, b1, ...``; False if a leaf is of a kind not known here."""
        positional, named = in_tree.subtrees
        self.example, self.avals = example, avals
        keywords = "" if named.subtrees else " or kwargs"
        self.lines += [
            f"    if config.epoch != epoch or (ALERT and state.absorbing){keywords}:",
            "        return MISS",
            "    try:",
        ]
        known = self._children(positional, "args") and (not named.subtrees or self._take(named, "kwargs"))
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
            if len(d.aux) > 1 and self._launched(d):
                return self._pass(d, f"{self.name('values', itemgetter(*d.aux))}({x})")
            return all(self._child(c, f"{x}[{self.name('k', k)}]") for k, c in zip(d.aux, d.subtrees))
        self._miss_if(f"type({x}) is not {self.name('K', d.kind)}")
        if d.kind in (tuple, list) or tree.is_namedtuple(d.kind):
            return self._children(d, x)
        if tree.can_change(d.aux):  # the node may have handed out what it goes on changing
            return False
        children, aux = f"t{self._fresh()}", self.name("aux", d.aux)
        self.lines.append(f"        {children}, aux = {self.name('flatten', tree.node_of(d).flatten)}({x})")
        self._miss_if(f"aux is not {aux} and not {self.name('same', tree.same_aux)}(aux, {aux})")
        if not d.subtrees or (
            len(d.subtrees) > 1 and self._launched(d)
        ):  # counted, or passed on: it may be an iterator
            self.lines.append(f"        {children} = list({children})")
        return self._children(d, children)

    def _fresh(self) -> int:
        self.trees += 1
        return self.trees

    def _launched(self, d: tree.TreeDef) -> bool:
        """Whether all children are arrays that are launched as they are."""
        kinds = map(type, self.example[self.leaves : self.leaves + len(d.subtrees)])
        whole = self.launch is not None and not self.donate
        return whole and all(c.kind is None for c in d.subtrees) and _ARRAYS.issuperset(kinds)

    def _pass(self, d: tree.TreeDef, children: str) -> bool:
        """Passes the children on without a name for each."""
        self.lines.append(f"        t{self._fresh()} = {children}")
        self.inputs.append(f"*t{self.trees}")
        self.leaves += len(d.subtrees)
        return True

    def _children(self, d: tree.TreeDef, x: str) -> bool:
        if not d.subtrees:
            self._miss_if(f"len({x}) != 0")
            return True
        if len(d.subtrees) > 1 and self._launched(d):
            self._miss_if(f"len({x}) != {len(d.subtrees)}")
            return self._pass(d, x)
        names, first = [], self.leaves
        for c in d.subtrees:
            names.append(f"x{first}" if c.kind is None else f"t{self._fresh()}")
            first += c.num_leaves
        self.lines.append(f"        {', '.join(names)}{',' * (len(names) == 1)} = {x}")
        return all(self._take(c, n) for c, n in zip(d.subtrees, names))

    def _child(self, d: tree.TreeDef, expression: str) -> bool:
        name = f"x{self.leaves}" if d.kind is None else f"t{self._fresh()}"
        self.lines.append(f"        {name} = {expression}")
        return self._take(d, name)

    def _leaf(self, x: str) -> bool:
        """The buffer of a leaf of the kind that the example is of; arrays are launched as they are."""
        k = self.leaves
        self.leaves += 1
        value, aval = self.example[k], self.avals[k]
        t = type(value)
        whole = self.launch is not None and t in _ARRAYS
        self.inputs.append(x if whole else f"b{k}")
        if whole:
            if self.donate:
                self.buffers.append(f"b{k} = {x}._buffer" if t is Array else f"b{k} = {x}")
                if t is Array:
                    self.weakness.append(f"{'not ' if aval.weak else ''}{x}.weak_type")
        elif t is Array:
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
        results = [f"r{k}" for k in range(len(weak))]
        self.results = 0
        buffers = ", ".join([*(f"b{k}" for k in range(self.leaves)), *(self.name("c", c) for c in captured)])
        taken = ", ".join(results)
        if self.launch is None:
            self.lines += self._run(buffers, results)
            self.lines += [f"    {r} = {'own_weak' if w else 'own'}({r})" for r, w in zip(results, weak)]
        else:
            out = "r0" if len(weak) == 1 else "out"
            self.lines += [f"    {out} = launch({', '.join(self.inputs)})", f"    if {out} is None:"]
            self.lines += [f"        {line}" for line in self._otherwise(out, buffers, results, weak)]
            self.lines += [f"    {taken} = out"] if len(weak) > 1 else []
        result = self._build(out_tree)
        self.lines.append(f"    return {result}")

    def _otherwise(self, out: str, buffers: str, results: Sequence[str], weak: Sequence[bool]) -> list[str]:
        """What is done where ``launch`` did nothing."""
        if not self.inputs:
            return ["return MISS"]
        lines = [f"{out} = launch_dense({', '.join(self.inputs)})", f"if {out} is None:"]
        if not self.donate:
            return [*lines, "    return MISS"]
        return [*lines, *[f"    {line}" for line in self._one_by_one(out, buffers, results, weak)]]

    def _one_by_one(self, out: str, buffers: str, results: Sequence[str], weak: Sequence[bool]) -> list[str]:
        """Checks, program and wrapping as functions of their own: memory that is donated may have to be copied."""
        lines = ["try:", *[f"    {line}" for line in self.buffers], "except MISSES:", "    return MISS"]
        if self.weakness:
            lines += [f"if {' or '.join(self.weakness)}:", "    return MISS"]
        lines += [line[4:] for line in self._run(buffers, results)]
        made = [f"{'own_weak' if w else 'own'}({r})" for r, w in zip(results, weak)]
        return [*lines, f"{out} = {made[0] if len(made) == 1 else '(' + ', '.join(made) + ')'}"]

    def _run(self, buffers: str, results: Sequence[str]) -> list[str]:
        """Checks the buffers and runs the program on them."""
        lines = [f"    if not fits({buffers}):"]
        if self.leaves:  # of another layout: copied, unless their memory is wanted
            gone = "".join(f" or dense[{k}] is not b{k}" for k in self.donate)
            own = ", ".join(f"b{k}" for k in range(self.leaves))
            lines += [
                f"        dense = as_dense({buffers})",
                f"        if dense is None{gone}:",
                "            return MISS",
                f"        {own}{',' * (self.leaves == 1)} = dense[:{self.leaves}]",
            ]
        else:
            lines.append("        return MISS")
        if len(self.donate) > 1:  # an array that is donated twice is named in the general way
            ids = ", ".join(f"id(b{k})" for k in self.donate)
            lines += [f"    if len({{{ids}}}) != {len(self.donate)}:", "        return MISS"]
        for k in self.donate:
            gift = f"x{k}._give_up()" if type(self.example[k]) is Array else f"x{k}.copy()"
            lines += [f"    b{k} = None", f"    b{k} = {gift}"]
        return [*lines, f"    {''.join(f'{r}, ' for r in results)}{'= ' if results else ''}run({buffers})"]

    def _build(self, d: tree.TreeDef) -> str:
        """The expression that builds a result."""
        if d.kind is None:
            k = self.results
            self.results += 1
            return f"r{k}"
        if d.kind is type(None):
            return "None"
        parts = [self._build(c) for c in d.subtrees]
        if d.kind is tuple:
            return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        if d.kind is list:
            return f"[{', '.join(parts)}]"
        if d.kind is dict and len(d.aux) > _FEW:  # Python builds a large one out of many small ones
            made = f"t{self._fresh()}"
            self.lines.append(f"    {made} = {self.name('empty', dict.fromkeys(d.aux))}.copy()")
            self.lines += [f"    {made}[{self.name('k', k)}] = {p}" for k, p in zip(d.aux, parts)]
            return made
        if d.kind is dict:
            return "{" + ", ".join(f"{self.name('k', k)}: {p}" for k, p in zip(d.aux, parts)) + "}"
        build, aux = self.name("build", tree.node_of(d).unflatten), self.name("aux", d.aux)
        return f"{build}({aux}, [{', '.join(parts)}])"
