"""``custom_jvp``: a function with a forward-mode rule of the user's, from which reverse mode follows by transposition."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..dtypes import is_inexact
from ..errors import CustomRuleError
from ..interpret import run_graph
from ..ir import Aval, Graph
from ..primitive import Linear, Primitive
from ..primitives.helpers import broadcast_batch
from ..trace import NamedAxis, aval_of, bind
from ..traceback import user_frames
from .calls import batch_closed
from .custom_call import (
    FlatRule,
    SymbolicZero,
    attribute_of,
    call_with_rules,
    closed_over_error,
    mapped_axis,
    nondiff_positions,
    of_type,
    on_examples,
    own,
    present,
    same_structure,
    tangent_or_zero,
    to_front,
    zero_from_primal,
)
from .flat import check_function, function_name
from .transpose import transpose_graph

__all__ = ["custom_jvp", "custom_jvp_p"]

custom_jvp_p = Primitive("custom_jvp_call", multiple_results=True)
custom_jvp_p.def_abstract(lambda *avals, graph, **_: graph.out_avals)
custom_jvp_p.def_impl(lambda *args, graph, **_: run_graph(graph, [np.asarray(a) for a in args]))


@custom_jvp_p.def_transpose
def _custom_jvp_transpose(cts: Sequence[Any], inputs: Sequence[Any], *, graph: Graph, **_: Any) -> list[Any]:
    """Of a function that is linear itself: a derivative never comes here, as the tangent of its rule is what is transposed."""
    linear = [isinstance(x, Linear) for x in inputs]
    found = iter(transpose_graph(graph, linear, [x for x in inputs if not isinstance(x, Linear)], cts))
    return [next(found) if is_lin else None for is_lin in linear]


@custom_jvp_p.def_jvp_call
def _custom_jvp_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, graph: Graph, rule: FlatRule, n_args: int
) -> Any:
    if any(t is not None for t in tangents[n_args:]):
        raise closed_over_error(graph.name, "custom_jvp")
    return rule(primals[:n_args], tangents[:n_args])


@custom_jvp_p.def_batch
def _custom_jvp_batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], *, graph: Graph, rule: FlatRule, n_args: int
) -> Any:
    axis = mapped_axis()
    batched, captures, out_dims = batch_closed(graph, dims, axis, force=True)
    in_avals, in_dims = [v.aval for v in graph.inputs[:n_args]], list(dims[:n_args])
    out = bind(
        custom_jvp_p,
        *args,
        *captures,
        graph=batched,
        rule=_batched_jvp_rule(rule, in_avals, in_dims, axis),
        n_args=n_args,
    )
    return out, list(out_dims)


def _batched_jvp_rule(rule: FlatRule, avals: list[Aval], dims: list[int | None], axis: NamedAxis) -> FlatRule:
    """The rule on one example, pushed through vmap; outputs and tangents batched at axis 0."""

    def batched(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        n = len(avals)
        active = [i for i, t in enumerate(tangents) if t is not None]
        zero: list[bool] = []

        def flat(*xs: Any) -> list[Any]:
            given = dict(zip(active, xs[n:]))
            outs, t_outs = rule(xs[:n], [given.get(i) for i in range(n)])
            zero.extend(t is None for t in t_outs)
            return [*outs, *(t for t in t_outs if t is not None)]

        # the tangent of a value that is not batched may be batched all the same: then it is at axis 0
        ts = [
            broadcast_batch(tangents[i], axis.size, 0)
            if dims[i] is None and tangents[i].shape == avals[i].shape
            else tangents[i]
            for i in active
        ]
        types = [*avals, *(avals[i].strong() for i in active)]
        at = [*dims, *(dims[i] or 0 for i in active)]
        found, out_dims = on_examples(axis, flat, types, [*primals, *ts], at)
        outs = [to_front(o, d, axis.size) for o, d in zip(found, out_dims)]
        t_outs = iter(outs[len(zero) :])
        return outs[: len(zero)], [None if z else next(t_outs) for z in zero]

    return batched


class custom_jvp:
    """A function with a jvp rule of its own.

    >>> import fx
    >>> import fx.numpy as fnp
    >>> @fx.custom_jvp
    ... def f(x, y):
    ...     return fnp.sin(x) * y
    >>> @f.defjvp
    ... def f_jvp(primals, tangents):
    ...     (x, y), (x_dot, y_dot) = primals, tangents
    ...     return f(x, y), fnp.cos(x) * x_dot * y + fnp.sin(x) * y_dot
    >>> fx.grad(f)(0.0, 2.0)
    Array(2., dtype=float32, weak_type=True)

    Args:
        fun: the function.
        nondiff_argnums: positional arguments that are not differentiated (and may be any Python object); the
            rule gets them first: ``rule(*nondiff, primals, tangents)``.
        nondiff_argnames: the same, by name.
    """

    @user_frames
    def __init__(
        self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = (), nondiff_argnames: Sequence[str] = ()
    ) -> None:
        check_function(fun, "custom_jvp")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = nondiff_positions(fun, nondiff_argnums, nondiff_argnames)
        self.rule: Callable[..., Any] | None = None
        self.symbolic_zeros = False

    def __getattr__(self, name: str) -> Any:
        """What the function has: ``def_vmap`` of a ``custom_vmap``, say."""
        return attribute_of(self, name)

    @user_frames
    def defjvp(self, rule: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Gives the rule ``(primals, tangents) -> (out, tangent_out)``.

        Args:
            symbolic_zeros: a tangent that is zero arrives as a ``SymbolicZero``, and is not made an array.
        """
        check_function(rule, "defjvp")
        self.rule, self.symbolic_zeros = rule, symbolic_zeros
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """One rule for each argument: ``rule(tangent, out, *primals)``; None where the derivative is zero."""

        def rule(primals: Any, tangents: Any) -> Any:
            out = self(*primals)
            given = [(r, t) for r, t in zip(rules, tangents) if r is not None and type(t) is not SymbolicZero]
            terms = [r(t, out, *primals) for r, t in given]
            if not terms:
                return out, tree.map(lambda o: zero_from_primal(o, symbolic_zeros=True), out)
            return out, functools.reduce(lambda a, b: tree.map(lambda x, y: x + y, a, b), terms)

        self.defjvp(rule, symbolic_zeros=True)

    @user_frames
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.rule is None:
            name = function_name(self.fun)
            raise CustomRuleError(
                f"no jvp rule was given for the custom_jvp function {name}; write {name}.defjvp(rule)"
            )
        return call_with_rules(
            custom_jvp_p, "custom_jvp", self.fun, self.nondiff_argnums, args, kwargs, self._flat_rule
        )

    def _flat_rule(
        self,
        args: Sequence[Any],
        static: list[Any],
        in_tree: tree.TreeDef,
        out_tree: tree.TreeDef,
        name: str,
        out_avals: Sequence[Aval],
    ) -> dict[str, FlatRule]:
        user_rule, symbolic = self.rule, self.symbolic_zeros
        assert user_rule is not None

        def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            tangents = [tangent_or_zero(t, aval_of(p), symbolic) for t, p in zip(tangents, primals)]
            p = tree.unflatten(in_tree, own(primals))[0]
            t = tree.unflatten(in_tree, own(tangents))[0]
            pair = user_rule(*static, p, t)
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise CustomRuleError(f"the jvp rule of {name} must return (out, tangent_out); found {pair!r}")
            outs = same_structure(pair[0], out_tree, f"the primal output of {name}'s jvp rule")
            t_leaves, t_tree = tree.flatten(pair[1])
            if t_tree != out_tree:  # it may say None for a zero; one that stands in the output is none
                t_leaves, t_tree = tree.flatten(pair[1], is_leaf=lambda x: x is None)
            t_leaves = [present(t) for t in t_leaves]
            if len(t_leaves) != len(outs):
                raise CustomRuleError(
                    f"the tangent output of {name}'s jvp rule must have the structure {out_tree}; found {t_tree}"
                )
            what = f"the jvp rule of {name}"
            outs = [of_type(o, a, what, "output") for o, a in zip(outs, out_avals)]
            t_outs = [
                None if t is None or not is_inexact(a.dtype) else of_type(t, a.strong(), what, "tangent of the output")
                for t, a in zip(t_leaves, out_avals)
            ]
            return outs, t_outs

        return {"rule": rule}
