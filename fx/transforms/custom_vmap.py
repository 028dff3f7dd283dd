"""``custom_vmap``: a function with a batching rule of the user's; ``sequential_vmap`` beside it.

One equation holds the graph of the function and the rule on flat lists.  Where nobody batches, the graph is inlined;
under vmap the rule is called with tracers as everywhere, so what it computes is differentiated and compiled like anything
else.  The tangent of the equation is an equation of the same kind, which holds the linear graph of the function and, as
its rule, the derivative of the user's; so is its transpose.  So a gradient that is batched goes through the user's rule,
as the gradient of the batch does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array, to_numpy
from ..errors import CustomRuleError
from ..interpret import run_graph
from ..ir import Aval, Graph
from ..primitive import Linear, Primitive
from ..primitives.helpers import move_batch, zeros_like
from ..trace import Tracer, aval_of, bind, eval_graph, trace_flat
from ..traceback import user_frames
from .calls import transpose_closed
from .checkpoint import tangent_graph, trace_call
from .custom_call import bind_arguments, to_front
from .flat import FlatFunction, argument_names, check_function, function_name
from .jvp import linearize_graph
from .transpose import transpose_graph

__all__ = ["custom_vmap", "custom_vmap_p"]

Batched = Sequence[bool]
FlatVmapRule = Callable[[int, Batched, Sequence[Any]], tuple[list[Any], list[bool]]]
"""``rule(axis_size, in_batched, args) -> (outs, out_batched)``; a batch axis is in front."""

custom_vmap_p = Primitive("custom_vmap_call", multiple_results=True)
custom_vmap_p.def_abstract(lambda *avals, graph, **_: graph.out_avals)
custom_vmap_p.def_impl(lambda *args, graph, **_: run_graph(graph, [np.asarray(a) for a in args]))


@custom_vmap_p.def_batch
def _batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], *, graph: Graph, rule: FlatVmapRule
) -> tuple[list[Any], list[int | None]]:
    in_front = [x if d is None else move_batch(x, d, 0) for x, d in zip(args, dims)]
    outs, batched = rule(size, [d is not None for d in dims], in_front)
    return outs, [0 if b else None for b in batched]


@custom_vmap_p.def_jvp_call
def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, graph: Graph, rule: FlatVmapRule
) -> tuple[list[Any], list[Any]]:
    outs = bind(custom_vmap_p, *primals, graph=graph, rule=rule)
    wrt = tuple([t is not None for t in tangents])
    linear, captures, nonzero = tangent_graph(graph, wrt)
    own = functools.partial(_tangent_rule, rule, wrt, nonzero, graph.out_avals)
    ts = [t for t in tangents if t is not None]
    found = iter(bind(custom_vmap_p, *primals, *ts, *captures, graph=linear, rule=own))
    return outs, [next(found) if nz else None for nz in nonzero]


def _on_batch(rule: FlatVmapRule, size: int, batched: Batched, avals: Sequence[Aval]) -> tuple[Graph, list[Any]]:
    """The rule as a closed graph on arguments of types ``avals``, all outputs batched; and its captures."""

    def f(*xs: Any) -> list[Any]:
        outs, found = rule(size, batched, xs)
        return [to_front(o, 0 if b else None, size) for o, b in zip(outs, found)]

    return trace_flat(f, [a.strong() for a in avals], kind="vmap", name="custom_vmap rule")


def _tangent_rule(
    rule: FlatVmapRule, wrt: Batched, nonzero: Batched, out_avals: Sequence[Aval],
    size: int, batched: Batched, args: Sequence[Any],
) -> tuple[list[Any], list[bool]]:  # fmt: skip
    """The derivative of a rule, of (primals, tangents where ``wrt``, whatever the linear graph of one example captures).

    An argument and its tangent are batched both, or neither.
    """
    n = len(wrt)
    primals, ts, of_primal = list(args[:n]), iter(args[n:]), list(batched[:n])
    of_tangent = iter(batched[n:])
    tangents: list[Any] = []
    for i, w in enumerate(wrt):
        if not w:
            continue
        t, b = next(ts), next(of_tangent)
        if b or of_primal[i]:
            primals[i], t = (to_front(x, 0 if on else None, size) for x, on in ((primals[i], of_primal[i]), (t, b)))
            of_primal[i] = True
        tangents.append(t)
    graph, captures = _on_batch(rule, size, of_primal, [aval_of(x) for x in primals])
    lin = linearize_graph(graph, [*primals, *captures], [*wrt, *[False] * len(captures)])
    found = iter(eval_graph(lin.linear, [*tangents, *lin.residuals]))
    given = [next(found) if nz else None for nz in lin.nonzero]
    outs = [
        zeros_like(a.with_(shape=(size, *a.shape)).strong()) if t is None else t
        for t, a, nz in zip(given, out_avals, nonzero)
        if nz
    ]
    return outs, [True] * len(outs)


@custom_vmap_p.def_transpose
def _transpose(cts: Sequence[Any], inputs: Sequence[Any], *, graph: Graph, rule: FlatVmapRule) -> list[Any]:
    linear, given = [isinstance(x, Linear) for x in inputs], [c is not None for c in cts]
    transposed, captures, nonzero = transpose_closed(graph, linear, given)
    avals = [v.aval.strong() for v in graph.inputs]
    own = functools.partial(_transposed_rule, rule, linear, given, nonzero, avals)
    others = [x for x in inputs if not isinstance(x, Linear)]
    args = [*others, *(c for c in cts if c is not None), *captures]
    found = iter(bind(custom_vmap_p, *args, graph=transposed, rule=own))
    per_linear = iter([next(found) if nz else None for nz in nonzero])
    return [next(per_linear) if is_lin else None for is_lin in linear]


def _transposed_rule(
    rule: FlatVmapRule, linear: Batched, given: Batched, nonzero: Batched, avals: Sequence[Aval],
    size: int, batched: Batched, args: Sequence[Any],
) -> tuple[list[Any], list[bool]]:  # fmt: skip
    """The transpose of a rule that is linear where ``linear``, of (other inputs, cotangents where ``given``, captures)."""
    on, rest = iter(batched), iter(args)
    of_input = [True if is_lin else next(on) for is_lin in linear]
    others = [next(rest) for is_lin in linear if not is_lin]
    cts = [to_front(next(rest), 0 if next(on) else None, size) if g else None for g in given]
    values = iter(others)
    types = [a.with_(shape=(size, *a.shape)) if is_lin else aval_of(next(values)) for a, is_lin in zip(avals, linear)]
    graph, captures = _on_batch(rule, size, of_input, types)
    found = transpose_graph(graph, [*linear, *[False] * len(captures)], [*others, *captures], cts)
    wanted = [a for a, is_lin in zip(types, linear) if is_lin]
    outs = [zeros_like(a) if c is None else c for c, a, nz in zip(found, wanted, nonzero) if nz]
    return outs, [True] * len(outs)


class custom_vmap:
    """A function with a batching rule of its own, which vmap uses in place of the rules of its operations.

    The rule is ``rule(axis_size, in_batched, *args) -> (out, out_batched)``: of the arguments those are batched, at axis
    0, that ``in_batched`` says (a list with a pytree of bools for each), and ``out_batched`` says the same of the result
    (a pytree of bools of its structure).

    >>> import fx, fx.numpy as fnp
    >>> @fx.custom_batching.custom_vmap
    ... def solve(a, b):
    ...     return fnp.linalg.solve(a, b)
    >>> @solve.def_vmap
    ... def solve_vmap(axis_size, in_batched, a, b):
    ...     if in_batched == [False, True]:  # one factorization for all right-hand sides
    ...         return fnp.linalg.solve(a, b.T).T, True
    ...     return fx.vmap(fnp.linalg.solve, [0 if b else None for b in in_batched])(a, b), True
    >>> fx.vmap(solve, (None, 0))(2 * fnp.eye(2), fnp.ones((3, 2))).shape
    (3, 2)

    A gradient that is batched is that of the rule: under ``vmap(grad(f))`` an argument and its tangent count as batched
    if one of them is, and all cotangents do.  (JAX has no reverse mode through ``custom_vmap``.)

    Raises:
        CustomRuleError: there is no rule, it returns something of another structure than the function, or the function
            closes over a value that is batched, of which the rule cannot know.
    """

    @user_frames
    def __init__(self, fun: Callable[..., Any]) -> None:
        check_function(fun, "custom_vmap")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.vmap_rule: Callable[..., Any] | None = None

    @user_frames
    def def_vmap(self, vmap_rule: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the rule."""
        check_function(vmap_rule, "def_vmap")
        self.vmap_rule = vmap_rule
        return vmap_rule

    @user_frames
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name, vmap_rule = function_name(self.fun), self.vmap_rule
        if vmap_rule is None:
            raise CustomRuleError(
                f"no batching rule was given for the custom_vmap function {name}; write {name}.def_vmap(rule)"
            )
        args = bind_arguments(self.fun, args, kwargs)
        leaves, in_tree = tree.flatten((args, {}))
        flat = FlatFunction(self.fun, in_tree)
        flat.name = name

        def params(graph: Graph) -> dict[str, Any]:
            assert flat.out_tree is not None
            return {"rule": functools.partial(_users_rule, vmap_rule, name, in_tree, flat.out_tree)}

        outs = trace_call(custom_vmap_p, flat, leaves, "custom_vmap", argument_names(self.fun, args, {}), params)
        assert flat.out_tree is not None
        return tree.unflatten(flat.out_tree, outs)


def _users_rule(
    vmap_rule: Callable[..., Any], name: str, in_tree: tree.TreeDef, out_tree: tree.TreeDef,
    size: int, batched: Batched, args: Sequence[Any],
) -> tuple[list[Any], list[bool]]:  # fmt: skip
    """The user's rule on flat lists."""
    n = in_tree.num_leaves
    if any(batched[n:]):
        raise CustomRuleError(
            f"{name} (a custom_vmap function) closes over a value that is batched; its rule cannot know of it. Make the"
            " value an argument."
        )
    arrays = [x.alias() if type(x) is Tracer else Array(to_numpy(x), aval_of(x).weak) for x in args[:n]]
    xs, _ = tree.unflatten(in_tree, arrays)
    on, _ = tree.unflatten(in_tree, batched[:n])
    pair = vmap_rule(size, list(on), *xs)
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise CustomRuleError(f"the batching rule of {name} must return (out, out_batched); found {pair!r}")
    (outs, found), (out_batched, marked) = map(tree.flatten, pair)
    for what, d in (("out", found), ("out_batched", marked)):
        if d != out_tree:
            raise CustomRuleError(
                f"{what}, as the batching rule of {name} returned it, has the structure {d}; {name} returns {out_tree}"
            )
    return outs, [bool(b) for b in out_batched]
