"""``summary``: the table of a model's layers, with output shapes, numbers of parameters and operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import dtypes, tree
from ..api import ShapeDtypeStruct, make_graph
from ..errors import ArgumentError
from ..ir import Eqn, Graph, subgraphs
from ..random import KeyArray
from .module import Module
from .observing import LayerCall, observe
from .state import init_state, stateful, takes_key
from .surgery import inference, is_array, trainable

__all__ = ["LayerSummary", "Summary", "summary"]


# --------------------------------------------------------------------------------------------- flops

_MOVES = frozenset(
    "reshape transpose broadcast_in_dim concatenate pad slice rev squeeze expand_dims iota gather scatter dynamic_slice dynamic_update_slice"
    " convert_element_type bitcast_convert_type copy optimization_barrier name stop_gradient window_select".split()
)
"""Equations that move or choose numbers, and compute none."""


def _per_element(eqn: Eqn) -> int:
    """Operations that each element of the (first) output takes."""
    name, inputs = eqn.prim.name, eqn.inputs
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return 2 * math.prod([inputs[0].aval.shape[a] for a in contracted])
    if name == "conv_general_dilated":
        kernel = inputs[1].aval
        return 2 * kernel.size // max(kernel.shape[eqn.params["rhs_spec"][0]], 1)
    if name.startswith("reduce_window"):
        return math.prod(eqn.params["window_dimensions"])
    return 1


def flops(graph: Graph, inside: str | None = None) -> float:
    """Floating-point operations of a graph: a multiplication and an addition are two, any elementwise function is one.

    Data movement counts nothing, nor does arithmetic on integers.  A loop counts as often as it runs; a while loop, once.

    Args:
        inside: count the equations alone whose scope has this part.
    """
    return sum(_eqn_flops(e) for e in graph.eqns if inside is None or f"{inside}/" in f"{e.scope}/")


def _eqn_flops(eqn: Eqn) -> float:
    inner = [flops(g) for _, g in subgraphs(eqn.params)]
    if inner:
        return max(inner) if eqn.prim.name == "cond" else sum(inner) * eqn.params.get("length", 1)
    out = eqn.outputs[0].aval
    if eqn.prim.name in _MOVES or not dtypes.is_inexact(out.dtype):
        return 0
    if eqn.prim.name.startswith(("reduce_", "cum")) and not eqn.prim.name.startswith("reduce_window"):
        return eqn.inputs[0].aval.size
    return _per_element(eqn) * out.size


# --------------------------------------------------------------------------------------------- table


@dataclass(frozen=True)
class LayerSummary:
    """One call of a layer: where it is, what came out, and what it and the layers in it hold and compute."""

    path: str
    name: str
    depth: int
    output: str
    parameters: int
    flops: float


@dataclass(frozen=True)
class Summary:
    """What ``summary`` returns; printing it gives the table."""

    layers: tuple[LayerSummary, ...]
    parameters: int
    trainable: int
    parameter_bytes: int
    state: int
    flops: float

    def __str__(self) -> str:
        head = ("Layer", "Type", "Output", "Parameters", "Flops")
        rows = [
            ("  " * max(x.depth - 1, 0) + (x.path or "(model)"), x.name, x.output, f"{x.parameters:,}", _short(x.flops))
            for x in self.layers
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows)]
        rule = "─" * (sum(widths) + 2 * len(widths) - 2)
        lines = [_row(head, widths), rule, *[_row(r, widths) for r in rows], rule]
        frozen = self.parameters - self.trainable
        lines.append(
            f"{self.parameters:,} parameters ({_bytes(self.parameter_bytes)}): {self.trainable:,} trainable, {frozen:,} not"
        )
        if self.state:
            lines.append(f"{self.state:,} numbers of state")
        lines.append(f"{_short(self.flops)} flops for this input")
        return "\n".join(lines)

    __repr__ = __str__


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    left, right = slice(0, 3), slice(3, 5)
    parts = [c.ljust(w) for c, w in zip(cells[left], widths[left])] + [
        c.rjust(w) for c, w in zip(cells[right], widths[right])
    ]
    return "  ".join(parts).rstrip()


def _short(n: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}" if n < 999.5 * size else f"{n / size:.0f} {unit}"
    return f"{n:.0f}"


def _bytes(n: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"


def _count(x: Any) -> int:
    return sum(math.prod(v.shape) for v in tree.leaves(x) if is_array(v))


def _shapes(x: Any) -> str:
    """The shapes of an output: of several, in parentheses."""
    leaves = [v for v in tree.leaves(x) if is_array(v)]
    texts = [f"({', '.join(map(str, v.shape))})" for v in leaves]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _example(x: Any) -> Any:
    """Arrays as their shapes: nothing is computed."""
    return tree.map(
        lambda v: ShapeDtypeStruct(v.shape, v.dtype) if is_array(v) and not isinstance(v, KeyArray) else v, x
    )


def summary(model: Module, *args: Any, state: Any = None, key: Any = None, **kwargs: Any) -> Summary:
    """The layers of a model in the order of their calls, with output shapes, parameters and operations.

    Nothing is computed: the model is traced for the shapes of its arguments.

    Args:
        model: a module.
        args, kwargs: what it is called with: arrays, or anything with a shape and a dtype.
        state: None means ``nn.init_state(model)``, for models with state.
        key: for models that draw noise; without one the model is summarised under ``nn.inference``.

    Returns:
        A ``Summary``; ``print`` it for the table.

    >>> import fx, fx.numpy as fnp
    >>> from fx import nn, random
    >>> a, b = random.split(random.key(0))
    >>> model = nn.Sequential(nn.Linear(4, 8, key=a), nn.relu, nn.Linear(8, 2, key=b))
    >>> print(nn.summary(model, fnp.ones((3, 4))))
    Layer     Type        Output  Parameters  Flops
    ───────────────────────────────────────────────
    (model)   Sequential  (3, 2)          58    342
    layers/0  Linear      (3, 8)          40    216
    layers/1  relu        (3, 8)           0     24
    layers/2  Linear      (3, 2)          18    102
    ───────────────────────────────────────────────
    58 parameters (232 B): 58 trainable, 0 not
    342 flops for this input
    """
    if not callable(model):
        raise ArgumentError(f"summary takes a module, and what it is called with; found {model!r:.60}")
    for x in args:
        if isinstance(x, tuple) and x and all(type(n) is int for n in x):
            raise ArgumentError(
                f"summary takes what the model is called with; found the shape {x}. Write fx.ShapeDtypeStruct({x}, 'float32'),"
                f" or fx.numpy.zeros({x})."
            )
    calls: list[LayerCall] = []
    keeps, noisy = stateful(model), takes_key(type(model))
    if keeps and state is None:
        state = init_state(model)
    shown = model if key is not None else inference(model)

    def run(model: Any, args: Any, state: Any) -> Any:
        calls.clear()
        with observe(calls.append):
            extra = {**kwargs, "key": key} if noisy else kwargs
            return tree.leaves(model(*args, state, **extra) if keeps else model(*args, **extra))

    graph = make_graph(run)(_example(shown), _example(args), _example(state)).graph
    rows = []
    for call in sorted(calls, key=lambda c: c.index):
        output = call.output[0] if stateful(call.module) and isinstance(call.output, tuple) else call.output
        name = getattr(getattr(call.module, "function", None), "__name__", type(call.module).__name__)
        rows.append(
            LayerSummary(call.path, name, call.depth, _shapes(output), _count(call.module), flops(graph, call.scope))
        )
    mask = tree.leaves(trainable(model))
    arrays = [(v, m) for v, m in zip(tree.leaves(model), mask) if is_array(v)]
    return Summary(
        tuple(rows),
        sum(math.prod(v.shape) for v, _ in arrays),
        sum(math.prod(v.shape) for v, m in arrays if m),
        sum(math.prod(v.shape) * v.dtype.itemsize for v, _ in arrays),
        _count(state),
        flops(graph),
    )
