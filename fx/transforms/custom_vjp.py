"""``custom_vjp``: a function with a reverse-mode rule of the user's; ``custom_gradient`` and ``closure_convert`` beside it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tree
from ..dtypes import is_inexact
from ..errors import CustomRuleError, MissingRuleError
from ..interpret import run_graph
from ..ir import Aval, Graph
from ..primitive import Primitive
from ..primitives.helpers import instantiate, move_batch
from ..primitives.reductions import reduce_sum
from ..signatures import wraps
from ..trace import aval_of, bind, eval_graph, is_python_scalar, trace_flat
from ..traceback import user_frames
from .calls import batch_closed
from .custom_call import (
    FlatRule,
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
    split_static,
    tangent_or_zero,
    to_front,
)
from .flat import FlatFunction, check_function, check_leaf, function_name

__all__ = ["CustomVJPPrimal", "closure_convert", "custom_gradient", "custom_vjp", "custom_vjp_p"]

custom_vjp_p = Primitive("custom_vjp_call", multiple_results=True)
custom_linear_p = Primitive("custom_vjp_linear", multiple_results=True)
custom_vjp_p.def_abstract(lambda *avals, graph, **_: graph.out_avals)
custom_vjp_p.def_impl(lambda *args, graph, **_: run_graph(graph, [np.asarray(a) for a in args]))
custom_vjp_p.no_transpose("a function with a custom vjp rule is not linear; its backward rule is the transpose")


@custom_vjp_p.def_jvp_call
def _custom_vjp_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, graph: Graph, fwd: FlatRule, bwd: FlatRule, n_args: int
) -> Any:
    if any(t is not None for t in tangents[n_args:]):
        raise closed_over_error(graph.name, "custom_vjp")
    outs, residuals, aux = fwd(primals[:n_args], [t is not None for t in tangents[:n_args]])
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
    axis = mapped_axis()
    batched, captures, out_dims = batch_closed(graph, dims, axis, force=True)
    in_avals, in_dims = [v.aval for v in graph.inputs[:n_args]], list(dims[:n_args])

    def batched_fwd(primals: Sequence[Any], perturbed: Sequence[bool]) -> Any:
        kept: list[Any] = []

        def flat(*xs: Any) -> list[Any]:
            outs, residuals, aux = fwd(xs, perturbed)
            kept.append((len(outs), aux, [aval_of(r) for r in residuals]))
            return [*outs, *residuals]

        found, out_dims = on_examples(axis, flat, in_avals, primals, in_dims)
        outs = [to_front(o, d, size) for o, d in zip(found, out_dims)]
        n, aux, avals = kept[0]
        return outs[:n], outs[n:], (aux, avals)

    def batched_bwd(aux: Any, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        inner, res_avals = aux
        n_res, n_out = len(residuals), len(cts)
        given = [i for i, c in enumerate(cts) if c is not None]
        zero: list[bool] = []

        def flat(*xs: Any) -> list[Any]:
            own_cts = dict(zip(given, xs[n_res:]))
            out = bwd(inner, xs[:n_res], [own_cts.get(i) for i in range(n_out)])
            zero.extend(o is None for o in out)
            return [o for o in out if o is not None]

        types = [*res_avals, *(graph.out_avals[i].strong() for i in given)]
        args = [*residuals, *(cts[i] for i in given)]
        found = iter(zip(*on_examples(axis, flat, types, args, [0] * len(args))))
        result: list[Any] = []
        for z, d in zip(zero, in_dims):
            if z:
                result.append(None)
                continue
            ct = to_front(*next(found), size)
            result.append(reduce_sum(ct, (0,)) if d is None else move_batch(ct, 0, d))
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
    cts: Sequence[Any], inputs: Sequence[Any], *, n_residuals: int, bwd: FlatRule, aux: Any, **_: Any
) -> list[Any]:
    return [None] * n_residuals + list(bwd(aux, inputs[:n_residuals], cts))


@dataclass(frozen=True, eq=False)
class CustomVJPPrimal:
    """A leaf of the arguments, as a forward rule with ``symbolic_zeros`` gets it.

    perturbed: whether a derivative with respect to it may be asked for; where not, its cotangent is not used.
    """

    value: Any
    perturbed: bool


class custom_vjp:
    """A function with a backward rule of its own.

    >>> import fx
    >>> import fx.numpy as fnp
    >>> @fx.custom_vjp
    ... def clip_gradient(lo, hi, x):
    ...     return x
    >>> def fwd(lo, hi, x):
    ...     return x, (lo, hi)
    >>> def bwd(residuals, ct):
    ...     lo, hi = residuals
    ...     return None, None, fnp.clip(ct, lo, hi)
    >>> clip_gradient.defvjp(fwd, bwd)
    >>> fx.grad(lambda x: clip_gradient(-1.0, 1.0, x) * 1000.0)(3.0)
    Array(1., dtype=float32, weak_type=True)

    ``fwd`` takes the function's arguments and returns (output, residuals); ``bwd`` takes the residuals and the
    output's cotangent and returns one cotangent for each argument (None is zero, and is never made an array).
    With ``nondiff_argnums`` (or ``nondiff_argnames``) those arguments come first in ``bwd``.
    """

    @user_frames
    def __init__(
        self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = (), nondiff_argnames: Sequence[str] = ()
    ) -> None:
        check_function(fun, "custom_vjp")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = nondiff_positions(fun, nondiff_argnums, nondiff_argnames)
        self.rules: tuple[Callable[..., Any], Callable[..., Any]] | None = None
        self.symbolic_zeros = False

    def __getattr__(self, name: str) -> Any:
        """What the function has: ``def_vmap`` of a ``custom_vmap``, say."""
        return attribute_of(self, name)

    @user_frames
    def defvjp(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
    ) -> None:
        """Gives the forward and the backward rule.

        Args:
            symbolic_zeros: ``fwd`` gets each leaf of the arguments as a ``CustomVJPPrimal``, which says whether it is
                differentiated, and ``bwd`` gets a ``SymbolicZero`` for each cotangent that is zero without a computation.
            optimize_remat: accepted as in JAX.
        """
        check_function(fwd, "defvjp")
        check_function(bwd, "defvjp")
        self.rules, self.symbolic_zeros = (fwd, bwd), symbolic_zeros

    @user_frames
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.rules is None:
            name = function_name(self.fun)
            raise CustomRuleError(
                f"no vjp rule was given for the custom_vjp function {name}; write {name}.defvjp(fwd, bwd)"
            )
        return call_with_rules(
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
        (user_fwd, user_bwd), symbolic = self.rules, self.symbolic_zeros
        _, _, call_fwd = split_static(user_fwd, args, self.nondiff_argnums)

        def fwd(primals: Sequence[Any], perturbed: Sequence[bool]) -> tuple[list[Any], list[Any], Any]:
            values = own(primals)
            if symbolic:
                values = [CustomVJPPrimal(x, p) for x, p in zip(values, perturbed)]
            pair = call_fwd(*tree.unflatten(in_tree, values)[0])
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise CustomRuleError(f"the forward rule of {name} must return (output, residuals); found {pair!r}")
            outs = same_structure(pair[0], out_tree, f"the output of {name}'s forward rule")
            outs = [of_type(o, a, f"the forward rule of {name}", "output") for o, a in zip(outs, out_avals)]
            residuals, res_tree = tree.flatten(pair[1])
            residuals = [check_leaf(r, f"a residual of {name}'s forward rule") for r in residuals]
            numbers = {
                i: r for i, r in enumerate(residuals) if is_python_scalar(r)
            }  # the backward rule gets them as they are
            residuals = [r for i, r in enumerate(residuals) if i not in numbers]
            in_avals = [aval_of(p) for p in primals]
            return outs, residuals, (res_tree, numbers, in_avals)

        def bwd(aux: Any, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
            res_tree, numbers, in_avals = aux
            arrays = iter(own(residuals))
            kept = [numbers[i] if i in numbers else next(arrays) for i in range(res_tree.num_leaves)]
            cts = [tangent_or_zero(c, a, symbolic) for c, a in zip(cts, out_avals)]
            out = user_bwd(*static, tree.unflatten(res_tree, kept), tree.unflatten(out_tree, own(cts)))
            return _cotangents(out, in_tree, in_avals, name)

        return {"fwd": fwd, "bwd": bwd}


def _cotangents(out: Any, in_tree: tree.TreeDef, in_avals: Sequence[Aval], name: str) -> list[Any]:
    """The backward rule's result as one cotangent (or None) for each input leaf."""
    args_tree = in_tree.subtrees[0]
    if not isinstance(out, (tuple, list)) or len(out) != len(args_tree.subtrees):
        found = f"{len(out)}" if isinstance(out, (tuple, list)) else f"a {type(out).__name__}"
        raise CustomRuleError(
            f"the backward rule of {name} must return a tuple with one cotangent for each of the"
            f" {len(args_tree.subtrees)} arguments (None for zero); found {found}"
        )
    flat: list[Any] = []
    for i, (c, d) in enumerate(zip(out, args_tree.subtrees)):
        if c is None:
            flat += [None] * d.num_leaves
            continue
        leaves, ct_tree = tree.flatten(c)
        if ct_tree != d:  # None is a zero, unless it stands in the argument
            leaves, ct_tree = tree.flatten(c, is_leaf=lambda x: x is None)
        if len(leaves) != d.num_leaves:
            raise CustomRuleError(
                f"the backward rule of {name} returned {ct_tree} for argument {i}, whose structure is {d}"
            )
        flat += leaves
    what = f"the backward rule of {name}"
    flat = [present(c) for c in flat]
    return [
        None if c is None or not is_inexact(a.dtype) else of_type(c, a, what, f"cotangent of argument leaf {i}")
        for i, (c, a) in enumerate(zip(flat, in_avals))
    ]


@user_frames
def custom_gradient(fun: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """``fun(*args) -> (output, vjp)`` where ``vjp(ct)`` gives the cotangents of the arguments; without ``fun`` a decorator.

    >>> import fx
    >>> @fx.custom_gradient
    ... def with_doubled_gradient(x):
    ...     return x, lambda ct: (2 * ct,)
    >>> fx.grad(with_doubled_gradient)(3.0)
    Array(2., dtype=float32, weak_type=True)
    """

    if fun is None:
        return custom_gradient
    check_function(fun, "custom_gradient")

    def pair(*args: Any) -> Any:
        found = fun(*args)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise CustomRuleError(
                f"custom_gradient: {function_name(fun)} must return (output, vjp), where vjp maps the cotangent of the output"
                f" to those of the arguments; found a {type(found).__name__}"
            )
        return found

    @custom_vjp
    @wraps(fun)
    def wrapped(*args: Any) -> Any:
        return pair(*args)[0]

    def fwd(*args: Any) -> Any:
        out, vjp = pair(*args)
        converted, consts = closure_convert(vjp, out)
        return out, (tree.Partial(converted), consts)

    def bwd(residuals: Any, ct: Any) -> Any:
        vjp, consts = residuals
        cts = vjp.func(ct, *consts)
        return cts if isinstance(cts, (tuple, list)) else (cts,)

    wrapped.defvjp(fwd, bwd)
    return wrapped


@user_frames
def closure_convert(fun: Callable[..., Any], *example_args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """``(converted, consts)`` with ``converted(*args, *consts) == fun(*args)``: the traced values that ``fun``
    closes over become arguments.

    >>> import fx
    >>> def slope(a):
    ...     line, consts = fx.closure_convert(lambda x: a * x, 1.0)
    ...     return line(5.0, *consts)
    >>> fx.grad(slope)(2.0)
    Array(5., dtype=float32, weak_type=True)
    """
    check_function(fun, "closure_convert")
    leaves, in_tree = tree.flatten((example_args, {}))
    flat = FlatFunction(fun, in_tree)
    graph, captures = trace_flat(
        flat, [aval_of(x) for x in leaves], kind="closure_convert", name=flat.name, absorb=False
    )
    n_captures = len(captures)

    def converted(*args: Any) -> Any:
        own, consts = (args[:-n_captures], args[-n_captures:]) if n_captures else (args, ())
        xs = same_structure((tuple(own), {}), in_tree, f"the arguments of closure-converted {flat.name}")
        assert flat.out_tree is not None
        return tree.unflatten(flat.out_tree, eval_graph(graph, [*xs, *consts]))

    return converted, captures
