"""Derivative rules given by the user: custom_jvp, custom_vjp, custom_gradient, closure_convert.

The function is traced into a closed graph; the equation that calls it carries the user's rule.  Under jvp and
linearize the rule is called with the primals and tangents (tracers as everywhere), so what it computes is
differentiated, batched and compiled like anything else.  Where nobody differentiates, the graph is inlined.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array, to_numpy
from ..dtypes import is_inexact
from ..errors import CustomRuleError, MissingRuleError
from ..interpret import run_graph
from ..ir import Aval, Graph
from ..primitive import Primitive
from ..primitives.elementwise import convert_element_type
from ..primitives.helpers import broadcast_batch, instantiate, move_batch
from ..primitives.reductions import reduce_sum
from ..trace import Builder, NamedAxis, Tracer, aval_of, bind, eval_graph, state, trace_flat
from .calls import batch_closed
from .checkpoint import trace_call
from .flat import FlatFunction, argument_names, check_leaf, float0, function_name, resolve_argnums
from .vmap import batch_graph

__all__ = ["closure_convert", "custom_gradient", "custom_jvp", "custom_vjp"]

custom_jvp_p = Primitive("custom_jvp_call", multiple_results=True)
custom_vjp_p = Primitive("custom_vjp_call", multiple_results=True)
custom_linear_p = Primitive("custom_vjp_linear", multiple_results=True)

FlatRule = Callable[..., Any]


# --------------------------------------------------------------------------------- shared by both


def _bind_arguments(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Keyword arguments and defaults as positional ones, which the rules count by."""
    if not kwargs:
        try:
            signature = inspect.signature(f)
        except (TypeError, ValueError):
            return tuple(args)
    else:
        signature = inspect.signature(f)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    if bound.kwargs:
        raise CustomRuleError(
            f"{function_name(f)} has a custom derivative and keyword-only arguments {sorted(bound.kwargs)}:"
            " pass them by position, so that the rule can name them by number."
        )
    return bound.args


def _split_static(
    f: Callable[..., Any], args: Sequence[Any], nondiff: Sequence[int]
) -> tuple[list[Any], list[Any], Callable[..., Any]]:
    """(static arguments, other arguments, function of the other arguments alone)."""
    which = set(resolve_argnums(nondiff, len(args), "nondiff_argnums", CustomRuleError))
    static = {i: a for i, a in enumerate(args) if i in which}
    dynamic = [a for i, a in enumerate(args) if i not in which]
    n = len(args)  # rules live as long as the graph they are in: they must not hold the arguments

    def call(*dyn: Any) -> Any:
        it = iter(dyn)
        return f(*[static[i] if i in static else next(it) for i in range(n)])

    return list(static.values()), dynamic, call


def _own(xs: Sequence[Any]) -> list[Any]:
    """Arrays that a rule may have for itself: traced ones it may write to, the caller's NumPy arrays it may not."""
    return [x.alias() if type(x) is Tracer else Array(x) if type(x) is np.ndarray else x for x in xs]


def _mapped_axis() -> NamedAxis:
    """The axis that vmap pushes through, without its builder: batched rules are kept with the graph and outlive it."""
    return NamedAxis(state.mapped[-1].name, state.mapped[-1].size)


def _trace_example(axis: NamedAxis, f: Callable[..., Any], avals: Sequence[Aval]) -> tuple[Graph, list[Any]]:
    """Traces a rule on one example of a mapped axis, to which its collectives may refer although the vmap is over."""
    b = Builder("vmap")
    state.axes.append(NamedAxis(axis.name, axis.size, b))
    try:
        with b:
            return b.close(f(*[b.input(a) for a in avals]))
    finally:
        state.axes.pop()


def _closed_over_error(name: str, kind: str) -> CustomRuleError:
    return CustomRuleError(
        f"{name} (a {kind} function) is being differentiated with respect to a value that it closes over; its rule"
        " cannot know of it. Make the value an argument, or use fx.closure_convert."
    )


def _tangent_or_zero(t: Any, a: Aval) -> Any:
    """The tangent as a rule gets it: zeros for None; of dtype ``float0`` for the integers and booleans, which have none."""
    if t is None and not is_inexact(a.dtype):
        return np.zeros(a.shape, float0)
    return instantiate(t, a.strong())


def _of_type(x: Any, a: Aval, what: str, of: str) -> Any:
    """What a rule returned for a value of type ``a``; Python numbers and weakly typed values take its dtype.

    Raises:
        CustomRuleError: it has another shape or dtype.
    """
    b = aval_of(check_leaf(x, f"what {what} returned for the {of}"))
    if b.same_type(a):
        return x
    if b.shape == a.shape and (b.weak or a.weak) and (is_inexact(a.dtype) or not is_inexact(b.dtype)):
        return convert_element_type(x, a.dtype)
    raise CustomRuleError(f"{what} returned {b} for the {of}, which is {a}; shape and dtype must be equal")


def _same_structure(found: Any, want: tree.TreeDef, what: str) -> list[Any]:
    leaves, d = tree.flatten(found)
    if d != want:
        raise CustomRuleError(f"{what} must have the structure {want}; found {d}")
    return leaves


def _call_with_rules(
    prim: Primitive,
    kind: str,
    fun: Callable[..., Any],
    nondiff: Sequence[int],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    flat_rules: Callable[..., dict[str, FlatRule]],
) -> Any:
    """Calls a function with derivative rules: an equation that holds its graph and the rules on flat lists.

    ``flat_rules(args, static, in_tree, out_tree, name, out_avals)`` makes them, once the output is known.
    """
    args = _bind_arguments(fun, args, kwargs)
    static, dynamic, call = _split_static(fun, args, nondiff)
    leaves, in_tree = tree.flatten((tuple(dynamic), {}))
    flat = FlatFunction(call, in_tree)
    flat.name = function_name(fun)
    names = argument_names(fun, args, {}) if not static else None

    def params(graph: Graph) -> dict[str, Any]:
        rules = flat_rules(args, static, in_tree, flat.out_tree, flat.name, graph.out_avals)
        return {**rules, "n_args": len(leaves)}

    outs = trace_call(prim, flat, leaves, kind, names, params)
    assert flat.out_tree is not None
    return tree.unflatten(flat.out_tree, outs)


# ------------------------------------------------------------------------------------ custom_jvp

custom_jvp_p.def_abstract(lambda *avals, graph, **_: graph.out_avals)
custom_jvp_p.def_impl(lambda *args, graph, **_: run_graph(graph, [to_numpy(a) for a in args]))
custom_jvp_p.no_transpose("a function with a custom jvp rule is not linear; its rule's tangent is what is transposed")


@custom_jvp_p.def_jvp_call
def _custom_jvp_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, graph: Graph, rule: FlatRule, n_args: int
) -> Any:
    if any(t is not None for t in tangents[n_args:]):
        raise _closed_over_error(graph.name, "custom_jvp")
    return rule(primals[:n_args], tangents[:n_args])


@custom_jvp_p.def_batch
def _custom_jvp_batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], *, graph: Graph, rule: FlatRule, n_args: int
) -> Any:
    axis = _mapped_axis()
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
        active = [t is not None for t in tangents]
        zero: list[bool] = []

        def flat(*xs: Any) -> list[Any]:
            ts = iter(xs[len(avals) :])
            outs, t_outs = rule(xs[: len(avals)], [next(ts) if a else None for a in active])
            zero.extend(t is None for t in t_outs)
            return [*outs, *(t for t in t_outs if t is not None)]

        given = [t for t in tangents if t is not None]
        t_dims = [0 if d is None else d for d, a in zip(dims, active) if a]
        given = [
            broadcast_batch(t, axis.size, 0) if d is None and t.shape == a.shape else t
            for t, d, a in zip(
                given, [d for d, act in zip(dims, active) if act], [a for a, act in zip(avals, active) if act]
            )
        ]
        t_avals = [a.strong() for a, act in zip(avals, active) if act]
        graph, captures = _trace_example(axis, flat, [*avals, *t_avals])
        all_dims = [*dims, *t_dims, *[None] * len(captures)]
        outs, od = batch_graph(graph, [*primals, *given, *captures], all_dims, axis)
        outs = [broadcast_batch(o, axis.size, 0) if d is None else move_batch(o, d, 0) for o, d in zip(outs, od)]
        n = len(zero)
        ts = iter(outs[n:])
        return outs[:n], [None if z else next(ts) for z in zero]

    return batched


class custom_jvp:
    """A function with a jvp rule of its own.

    ::

        @fx.custom_jvp
        def f(x, y):
            return fnp.sin(x) * y

        @f.defjvp
        def f_jvp(primals, tangents):
            (x, y), (x_dot, y_dot) = primals, tangents
            return f(x, y), fnp.cos(x) * x_dot * y + fnp.sin(x) * y_dot

    Args:
        fun: the function.
        nondiff_argnums: positional arguments that are not differentiated (and may be any Python object); the
            rule gets them first: ``rule(*nondiff, primals, tangents)``.
    """

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = tuple(nondiff_argnums)
        self.rule: Callable[..., Any] | None = None
        self.symbolic_zeros = False

    def defjvp(self, rule: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Gives the rule ``(primals, tangents) -> (out, tangent_out)``.  ``symbolic_zeros``: a tangent that is zero
        arrives as None and is not made an array."""
        self.rule, self.symbolic_zeros = rule, symbolic_zeros
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """One rule for each argument: ``rule(tangent, out, *primals)``; None where the derivative is zero."""

        def rule(primals: Any, tangents: Any) -> Any:
            out = self(*primals)
            terms = [r(t, out, *primals) for r, t in zip(rules, tangents) if r is not None and t is not None]
            zero = tree.map(lambda o: instantiate(None, o), out)
            total = functools.reduce(lambda a, b: tree.map(lambda x, y: x + y, a, b), terms) if terms else zero
            return out, total

        self.defjvp(rule, symbolic_zeros=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.rule is None:
            name = function_name(self.fun)
            raise CustomRuleError(
                f"no jvp rule was given for the custom_jvp function {name}; write {name}.defjvp(rule)"
            )
        return _call_with_rules(
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
            if not symbolic:
                tangents = [_tangent_or_zero(t, aval_of(p)) for t, p in zip(tangents, primals)]
            p = tree.unflatten(in_tree, _own(primals))[0]
            t = tree.unflatten(in_tree, _own(tangents))[0]
            pair = user_rule(*static, p, t)
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise CustomRuleError(f"the jvp rule of {name} must return (out, tangent_out); found {pair!r}")
            outs = _same_structure(pair[0], out_tree, f"the primal output of {name}'s jvp rule")
            t_leaves, t_tree = tree.flatten(pair[1], is_leaf=lambda x: x is None)
            if len(t_leaves) != len(outs):
                raise CustomRuleError(
                    f"the tangent output of {name}'s jvp rule must have the structure {out_tree}; found {t_tree}"
                )
            what = f"the jvp rule of {name}"
            outs = [_of_type(o, a, what, "output") for o, a in zip(outs, out_avals)]
            t_outs = [
                None if t is None or not is_inexact(a.dtype) else _of_type(t, a.strong(), what, "tangent of the output")
                for t, a in zip(t_leaves, out_avals)
            ]
            return outs, t_outs

        return {"rule": rule}


# ------------------------------------------------------------------------------------ custom_vjp

custom_vjp_p.def_abstract(lambda *avals, graph, **_: graph.out_avals)
custom_vjp_p.def_impl(lambda *args, graph, **_: run_graph(graph, [to_numpy(a) for a in args]))
custom_vjp_p.no_transpose("a function with a custom vjp rule is not linear; its backward rule is the transpose")


@custom_vjp_p.def_jvp_call
def _custom_vjp_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, graph: Graph, fwd: FlatRule, bwd: FlatRule, n_args: int
) -> Any:
    if any(t is not None for t in tangents[n_args:]):
        raise _closed_over_error(graph.name, "custom_vjp")
    outs, residuals, aux = fwd(primals[:n_args])
    ts = [instantiate(t, aval_of(p).strong()) for t, p in zip(tangents[:n_args], primals)]
    t_outs = bind(
        custom_linear_p, *residuals, *ts,
        n_residuals=len(residuals), bwd=bwd, aux=aux, out_avals=tuple(a.strong() for a in graph.out_avals), name=graph.name,
    )  # fmt: skip
    return outs, [t if is_inexact(a.dtype) else None for t, a in zip(t_outs, graph.out_avals)]


@custom_vjp_p.def_batch
def _custom_vjp_batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    graph: Graph,
    fwd: FlatRule,
    bwd: FlatRule,
    n_args: int,
) -> Any:
    axis = _mapped_axis()
    batched, captures, out_dims = batch_closed(graph, dims, axis, force=True)
    in_avals, in_dims = [v.aval for v in graph.inputs[:n_args]], list(dims[:n_args])

    def batched_fwd(primals: Sequence[Any]) -> Any:
        kept: list[Any] = []

        def flat(*xs: Any) -> list[Any]:
            outs, residuals, aux = fwd(xs)
            kept.append((len(outs), aux, [aval_of(r) for r in residuals]))
            return [*outs, *residuals]

        g, more = _trace_example(axis, flat, in_avals)
        outs, od = batch_graph(g, [*primals, *more], [*in_dims, *[None] * len(more)], axis)
        outs = [broadcast_batch(o, size, 0) if d is None else move_batch(o, d, 0) for o, d in zip(outs, od)]
        n, aux, avals = kept[0]
        return outs[:n], outs[n:], (aux, avals)

    def batched_bwd(aux: Any, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        inner, res_avals = aux
        n_res = len(residuals)
        zero: list[bool] = []

        def flat(*xs: Any) -> list[Any]:
            out = bwd(inner, xs[:n_res], xs[n_res:])
            zero.extend(o is None for o in out)
            return [o for o in out if o is not None]

        avals = [*res_avals, *(a.strong() for a in graph.out_avals)]
        g, more = _trace_example(axis, flat, avals)
        flat_args = [*residuals, *cts, *more]
        outs, od = batch_graph(g, flat_args, [*[0] * (n_res + len(cts)), *[None] * len(more)], axis)
        it = iter(zip(outs, od))
        result: list[Any] = []
        for z, d in zip(zero, in_dims):
            if z:
                result.append(None)
                continue
            o, at = next(it)
            o = broadcast_batch(o, size, 0) if at is None else move_batch(o, at, 0)
            result.append(reduce_sum(o, (0,)) if d is None else move_batch(o, 0, d))
        return result

    out = bind(custom_vjp_p, *args, *captures, graph=batched, fwd=batched_fwd, bwd=batched_bwd, n_args=n_args)
    return out, list(out_dims)


custom_linear_p.def_abstract(lambda *avals, out_avals, **_: out_avals)


@custom_linear_p.def_impl
def _custom_linear_impl(*args: Any, name: str, **_: Any) -> Any:
    raise MissingRuleError(
        f"forward-mode differentiation (jvp, jacfwd, linearize's tangent) of {name!r}, which has only a custom vjp rule."
        " Use reverse mode (grad, vjp, jacrev), or give the function a custom_jvp rule instead."
    )


custom_linear_p.no_jvp("only a backward rule was given; use reverse mode, or custom_jvp")
custom_linear_p.no_batch("only a backward rule was given; use reverse mode, or custom_jvp")


@custom_linear_p.def_transpose
def _custom_linear_transpose(
    cts: Sequence[Any], inputs: Sequence[Any], *, n_residuals: int, bwd: FlatRule, aux: Any, out_avals: Any, name: str
) -> list[Any]:
    full = [instantiate(c, a) for c, a in zip(cts, out_avals)]
    return [None] * n_residuals + list(bwd(aux, inputs[:n_residuals], full))


class custom_vjp:
    """A function with a backward rule of its own.

    ::

        @fx.custom_vjp
        def clip_gradient(lo, hi, x):
            return x

        def fwd(lo, hi, x):
            return x, (lo, hi)

        def bwd(residuals, ct):
            lo, hi = residuals
            return None, None, fnp.clip(ct, lo, hi)

        clip_gradient.defvjp(fwd, bwd)

    ``fwd`` takes the function's arguments and returns (output, residuals); ``bwd`` takes the residuals and the
    output's cotangent and returns one cotangent for each argument (None is zero, and is never made an array).
    With ``nondiff_argnums`` those arguments come first in ``bwd``.
    """

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = tuple(nondiff_argnums)
        self.rules: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Gives the forward and the backward rule."""
        self.rules = (fwd, bwd)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.rules is None:
            name = function_name(self.fun)
            raise CustomRuleError(
                f"no vjp rule was given for the custom_vjp function {name}; write {name}.defvjp(fwd, bwd)"
            )
        return _call_with_rules(
            custom_vjp_p, "custom_vjp", self.fun, self.nondiff_argnums, args, kwargs, self._flat_rules
        )

    def _flat_rules(
        self,
        args: Sequence[Any],
        static: list[Any],
        in_tree: tree.TreeDef,
        out_tree: tree.TreeDef,
        name: str,
        out_avals: Sequence[Aval],
    ) -> dict[str, FlatRule]:
        assert self.rules is not None
        user_fwd, user_bwd = self.rules
        _, _, call_fwd = _split_static(user_fwd, args, self.nondiff_argnums)

        def fwd(primals: Sequence[Any]) -> tuple[list[Any], list[Any], Any]:
            pair = call_fwd(*tree.unflatten(in_tree, _own(primals))[0])
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise CustomRuleError(f"the forward rule of {name} must return (output, residuals); found {pair!r}")
            outs = _same_structure(pair[0], out_tree, f"the output of {name}'s forward rule")
            outs = [_of_type(o, a, f"the forward rule of {name}", "output") for o, a in zip(outs, out_avals)]
            residuals, res_tree = tree.flatten(pair[1])
            in_avals = [aval_of(p) for p in primals]
            return outs, residuals, (res_tree, in_avals)

        def bwd(aux: Any, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
            res_tree, in_avals = aux
            out = user_bwd(*static, tree.unflatten(res_tree, _own(residuals)), tree.unflatten(out_tree, _own(cts)))
            return _cotangents(out, in_tree, in_avals, name)

        return {"fwd": fwd, "bwd": bwd}


def _cotangents(out: Any, in_tree: tree.TreeDef, in_avals: Sequence[Aval], name: str) -> list[Any]:
    """The backward rule's result as one cotangent (or None) for each input leaf."""
    args_tree = in_tree.children[0]
    if not isinstance(out, (tuple, list)) or len(out) != len(args_tree.children):
        found = f"{len(out)}" if isinstance(out, (tuple, list)) else f"a {type(out).__name__}"
        raise CustomRuleError(
            f"the backward rule of {name} must return a tuple with one cotangent for each of the"
            f" {len(args_tree.children)} arguments (None for zero); found {found}"
        )
    flat: list[Any] = []
    for i, (c, d) in enumerate(zip(out, args_tree.children)):
        if c is None:
            flat += [None] * d.num_leaves
            continue
        leaves, ct_tree = tree.flatten(c, is_leaf=lambda x: x is None)
        if len(leaves) != d.num_leaves:
            raise CustomRuleError(
                f"the backward rule of {name} returned {ct_tree} for argument {i}, whose structure is {d}"
            )
        flat += leaves
    what = f"the backward rule of {name}"
    return [
        None if c is None or not is_inexact(a.dtype) else _of_type(c, a, what, f"cotangent of argument leaf {i}")
        for i, (c, a) in enumerate(zip(flat, in_avals))
    ]


def custom_gradient(fun: Callable[..., Any]) -> Callable[..., Any]:
    """``fun(*args) -> (output, vjp)`` where ``vjp(ct)`` gives the cotangents of the arguments."""

    @custom_vjp
    @functools.wraps(fun)
    def wrapped(*args: Any) -> Any:
        return fun(*args)[0]

    def fwd(*args: Any) -> Any:
        out, vjp = fun(*args)
        converted, consts = closure_convert(vjp, out)
        return out, (tree.Partial(converted), consts)

    def bwd(residuals: Any, ct: Any) -> Any:
        vjp, consts = residuals
        cts = vjp.func(ct, *consts)
        return cts if isinstance(cts, (tuple, list)) else (cts,)

    wrapped.defvjp(fwd, bwd)
    return wrapped


def closure_convert(fun: Callable[..., Any], *example_args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """``(converted, consts)`` with ``converted(*args, *consts) == fun(*args)``: the traced values that ``fun``
    closes over become arguments."""
    leaves, in_tree = tree.flatten((example_args, {}))
    flat = FlatFunction(fun, in_tree)
    graph, captures = trace_flat(
        flat, [aval_of(x) for x in leaves], kind="closure_convert", name=flat.name, absorb=False
    )
    n_captures = len(captures)

    def converted(*args: Any) -> Any:
        own, consts = (args[:-n_captures], args[-n_captures:]) if n_captures else (args, ())
        xs = _same_structure((tuple(own), {}), in_tree, f"the arguments of closure-converted {flat.name}")
        assert flat.out_tree is not None
        return tree.unflatten(flat.out_tree, eval_graph(graph, [*xs, *consts]))

    return converted, captures
