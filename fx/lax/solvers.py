"""custom_root and custom_linear_solve: solvers that are differentiated by what they solve, not by how; linear_call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import tree
from ..api import eval_shape, jvp, linear_transpose, linearize
from ..api.bodies import Traced, converted, leaves_of, same_operands, trace_body
from ..dtypes import is_inexact
from ..errors import CustomRuleError
from ..ir import Aval
from ..primitives.elementwise import neg
from ..primitives.helpers import zeros_like
from ..trace import aval_of, bind
from ..traceback import user_frames
from ..transforms.custom_jvp import custom_jvp
from ..transforms.custom_vjp import closure_convert
from ..transforms.flat import function_name
from ..transforms.linear_call import linear_call_p
from ..transforms.linear_solve import linear_solve_p

__all__ = ["custom_linear_solve", "custom_root", "linear_call_p", "linear_solve_p"]


@user_frames
def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    tangent_solve: Callable[[Callable[[Any], Any], Any], Any],
    has_aux: bool = False,
) -> Any:
    """A root x of ``f(x) = 0``, found by ``solve(f, initial_guess)`` and differentiated as a root.

    If f depends on parameters p, ``f(x(p), p) = 0`` gives ``x' = -(df/dx)^-1 (df/dp) p'`` (the implicit function theorem),
    whatever the solver does.

    Args:
        f: its parameters are what it closes over.
        initial_guess: any pytree, of the structure of x and of f(x); it has no derivative.
        solve: may use while_loop, which need not be differentiable.
        tangent_solve: ``(g, y)`` to the solution x of g(x) = y, with g linear; made of differentiable operations.
            For a scalar: ``lambda g, y: y / g(1.0)``.
        has_aux: ``solve`` returns a pair (x, auxiliary data).

    >>> import fx
    >>> def newton(f, x):
    ...     step = lambda x: x - f(x) / fx.grad(f)(x)
    ...     return fx.lax.fori_loop(0, 20, lambda _, x: step(x), x)
    >>> root = lambda a: fx.lax.custom_root(lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> fx.value_and_grad(root)(4.0)
    (Array(2., dtype=float32, weak_type=True), Array(0.25, dtype=float32, weak_type=True))
    """
    of_x, parameters = closure_convert(f, initial_guess)
    solved, of_solve = closure_convert(lambda p, guess: solve(lambda x: of_x(x, *p), guess), parameters, initial_guess)
    result = _example(solved, parameters, initial_guess, *of_solve)
    x = result[0] if has_aux else result

    def tangent(parameters: Any, x: Any, y: Any) -> Any:
        return tangent_solve(linearize(lambda x: of_x(x, *parameters), x)[1], y)

    pushed, of_tangent = closure_convert(tangent, parameters, x, _example(of_x, x, *parameters))

    @custom_jvp
    def root(parameters: Any, guess: Any, of_solve: Any, of_tangent: Any) -> Any:
        return solved(parameters, guess, *of_solve)

    def rule(primals: Any, tangents: Any) -> Any:
        parameters, of_tangent, given = primals[0], primals[3], tangents[0]
        out = root(*primals)
        x = out[0] if has_aux else out
        smooth = [i for i, p in enumerate(parameters) if is_inexact(aval_of(p).dtype)]

        def of_parameters(*chosen: Any) -> Any:
            full = list(parameters)
            for i, p in zip(smooth, chosen):
                full[i] = p
            return of_x(x, *full)

        _, moved = jvp(of_parameters, [parameters[i] for i in smooth], [given[i] for i in smooth])
        t_x = tree.map(neg, pushed(parameters, x, moved, *of_tangent))
        return (out, (t_x, tree.map(lambda v: zeros_like(aval_of(v)), out[1]))) if has_aux else (out, t_x)

    root.defjvp(rule)
    return root(parameters, initial_guess, of_solve, of_tangent)


def _example(f: Callable[..., Any], *args: Any) -> Any:
    """Zeros of the types of ``f(*args)``."""
    return tree.map(lambda s: zeros_like(Aval(s.shape, s.dtype)), eval_shape(f, *args))


@user_frames
def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    transpose_solve: Callable[[Callable[[Any], Any], Any], Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The solution x of ``matvec(x) = b``, found by ``solve(matvec, b)`` and differentiated as a solution.

    With dots for tangents, ``A x = b`` gives ``A x' = b' - A' x``; in reverse mode the transposed system is solved.

    Args:
        matvec: linear; what it closes over are the parameters of the matrix A.
        b: any pytree.
        solve: ``(matvec, b)`` to x; may use while_loop, which need not be differentiable.
        transpose_solve: ``(vecmat, b)`` to the solution of the transposed system; needed for reverse mode.
        symmetric: A is its own transpose, so ``solve`` serves for both.
        has_aux: ``solve`` and ``transpose_solve`` return pairs (x, auxiliary data).

    Raises:
        CustomRuleError: the structures or types of x, ``matvec(x)`` and b differ.

    >>> import fx, numpy as np
    >>> def solved(a, b):
    ...     return fx.lax.custom_linear_solve(lambda x: a * x, b, lambda _, b: b / a, symmetric=True)
    >>> fx.grad(lambda a: solved(a, 6.0))(2.0)
    Array(-1.5, dtype=float32, weak_type=True)
    """
    leaves, structure = leaves_of("b", b), tree.structure(b)
    avals = [aval_of(x).strong() for x in leaves]
    names = [f"b{tree.keystr(path)}" for path, _ in tree.leaves_with_path(b)]

    def traced(f: Callable[[Any], Any], name: str) -> Traced:
        return trace_body("custom_linear_solve", f, (b,), avals, names, name)

    def checked(t: Traced, aux: bool, name: str) -> Traced:
        found = t.out_tree.subtrees[0] if aux else t.out_tree
        types = t.graph.out_avals[: len(avals)]
        if found != structure or not all(x.same_type(a) for x, a in zip(types, avals)):
            listed = ", ".join(map(str, types))
            raise CustomRuleError(
                f"custom_linear_solve: {name} returned {found} ({listed}); b is {structure} ({', '.join(map(str, avals))})."
                " They must be equal: a solution, the matrix times it, and b have one type."
            )
        return t

    forward = checked(traced(matvec, function_name(matvec)), False, "matvec")
    solver = checked(traced(lambda v: solve(matvec, v), function_name(solve)), has_aux, "solve")
    parts = [solver, forward]
    if symmetric:
        parts += parts
    elif transpose_solve is not None:
        example = tree.unflatten(structure, [zeros_like(a) for a in avals])
        vecmat = lambda v: linear_transpose(matvec, example)(v)[0]
        back = traced(lambda v: transpose_solve(vecmat, v), function_name(transpose_solve))
        parts += [checked(back, has_aux, "transpose_solve"), traced(vecmat, "vecmat")]
    consts, graphs = same_operands(parts)
    graphs = [g.replace(inputs=(*g.inputs[len(consts) :], *g.inputs[: len(consts)])) for g in graphs]
    outs = bind(
        linear_solve_p, *leaves, *consts,
        n=len(leaves), graph=graphs[0], matvec=graphs[1], transposed=tuple(graphs[2:]) or None,
    )  # fmt: skip
    return tree.unflatten(solver.out_tree, outs)


@user_frames
def linear_call(
    fun: Callable[[Any, Any], Any], fun_transpose: Callable[[Any, Any], Any], residual_args: Any, linear_args: Any
) -> Any:
    """``fun(residual_args, linear_args)``, linear in the second, whose transpose is said to be ``fun_transpose``.

    Reverse mode calls ``fun_transpose(residual_args, ct)`` in place of the transpose that fx would make of ``fun``: one that is
    cheaper, or that ``fun``, which may be made of anything (callbacks too), does not have.

    Args:
        fun: of two pytrees, to a pytree.
        fun_transpose: of the residuals and a pytree as ``fun`` returns it, to one as ``linear_args``.
        residual_args, linear_args: pytrees of arrays.

    Raises:
        CustomRuleError: ``fun_transpose`` does not return what ``linear_args`` is.

    >>> import fx
    >>> halved = lambda x: fx.custom_derivatives.linear_call(lambda r, x: x / r, lambda r, ct: ct / r, 2.0, x)
    >>> halved(3.0), fx.grad(halved)(3.0)
    (Array(1.5, dtype=float32), Array(0.5, dtype=float32, weak_type=True))
    """
    leaves, structure = leaves_of("linear_args", linear_args), tree.structure(linear_args)
    avals = [aval_of(x).strong() for x in leaves]

    def traced(f: Callable[[Any, Any], Any], like: Any, avals: list[Aval], what: str) -> Traced:
        names = [f"{what}{tree.keystr(path)}" for path, _ in tree.leaves_with_path(like)]
        return trace_body("linear_call", lambda v: f(residual_args, v), (like,), avals, names, function_name(f))

    forward = traced(fun, linear_args, avals, "linear_args")
    cts = [a.strong() for a in forward.graph.out_avals]
    backward = traced(fun_transpose, tree.unflatten(forward.out_tree, list(map(zeros_like, cts))), cts, "ct")
    found = backward.graph.out_avals
    if backward.out_tree != structure or any(x.shape != a.shape for x, a in zip(found, avals)):
        raise CustomRuleError(
            f"linear_call: {function_name(fun_transpose)} returned {backward.out_tree} ({', '.join(map(str, found))}); linear_args is"
            f" {structure} ({', '.join(map(str, avals))}). The transpose gives back what fun is linear in."
        )
    consts, graphs = same_operands([forward, converted(backward, avals)])
    turned = [g.replace(inputs=(*g.inputs[len(consts) :], *g.inputs[: len(consts)])) for g in graphs]
    outs = bind(linear_call_p, *leaves, *consts, n=len(leaves), graph=turned[0], transposed=turned[1])
    return tree.unflatten(forward.out_tree, outs)
