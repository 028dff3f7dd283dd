"""Taylor mode: derivatives of any order in one pass, at a cost that is quadratic (not exponential) in the order.

A function is traced into a graph, and a truncated power series is pushed through its equations.  Three kinds of
equations need a rule of their own: linear ones apply to every coefficient, products convolve, and a few functions
(exp, division, powers, loops) have a recurrence.  All others follow from their jvp rule, since z = f(x(t)) solves

    z'(t) = J(x(t)) x'(t),

whose right side is a graph too: the coefficients of z are those of z' divided by 1, 2, 3 ...

Source: Griewank, Walther, "Evaluating Derivatives", chapter 13; Bettencourt, Johnson, Duvenaud, "Taylor-mode automatic
differentiation for higher-order derivatives in JAX", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import dtypes, lax, tree
from .. import numpy as fnp
from ..api import make_graph
from ..errors import DTypeError, ShapeError, TreeError
from ..ir import Aval, Graph
from ..numpy.core import as_type, as_value
from ..passes.dce import dce
from ..primitive import Primitive
from ..primitives.control_flow import cond_p, scan_p, while_p
from ..primitives.conv import conv_general_dilated_p
from ..primitives.elementwise import div_p, exp_p, log, mul, mul_p, pow_p
from ..primitives.linalg import dot_general_p
from ..staging import jit_p
from ..trace import aval_of, bind, eval_graph, read, trace_flat
from ..transforms.checkpoint import checkpoint_p
from ..transforms.custom_vjp import custom_vjp_p

__all__ = ["jet", "jet2"]

Value = Any
Series = tuple[Value, ...]  # Taylor coefficients c_0, c_1 ... of a value; those that are left out are 0

LINEAR = frozenset(
    "neg add sub real imag conj complex select_n convert_element_type copy optimization_barrier reshape transpose broadcast_in_dim"
    " concatenate pad slice rev squeeze expand_dims gather scatter scatter_add dynamic_slice dynamic_update_slice reduce_sum psum all_gather"
    " cumsum reduce_window_sum window_select window_scatter_add name".split()
)
"""Primitives that are linear in all their float operands together."""


def _is_smooth(x: Any) -> bool:
    return dtypes.is_inexact(aval_of(x).dtype)


def _zero(like: Value) -> Value:
    return fnp.zeros(aval_of(like).shape, aval_of(like).dtype)


def _padded(s: Series, order: int) -> Series:
    """All ``order + 1`` coefficients, of the dtype of the first; of an integer just the value."""
    if not _is_smooth(s[0]):
        return s[:1]
    d = aval_of(s[0]).dtype
    return tuple([as_type(as_value(c), d) for c in s]) + tuple([_zero(s[0])] * (order + 1 - len(s)))


def _sum(terms: Sequence[Value]) -> Value:
    total = terms[0]
    for t in terms[1:]:
        total = total + t
    return total


# ------------------------------------------------------------------------------------ rules by recurrence


def _convolved(product: Callable[[Value, Value], Value], x: Series, y: Series, order: int) -> Series:
    """The series of a bilinear operation: z_k is the sum of product(x_i, y_j) over i + j = k."""
    degree = min(order, len(x) + len(y) - 2)
    return tuple(
        [
            _sum([product(x[i], y[k - i]) for i in range(max(0, k + 1 - len(y)), min(k + 1, len(x)))])
            for k in range(degree + 1)
        ]
    )


def _product_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    x, y = args
    return [_convolved(lambda a, b: bind(prim, a, b, **params), x, y, order)]


def _quotient_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    """z = x / y from x = y z."""
    x, y = args
    z: list[Value] = []
    for k in range(order + 1 if len(y) > 1 else len(x)):
        known = [y[j] * z[k - j] for j in range(1, min(k + 1, len(y)))]
        above = x[k] if k < len(x) else _zero(x[0])
        z.append(bind(div_p, above - _sum(known) if known else above, y[0]))
    return [tuple(z)]


def _exponential(x: Series, order: int) -> Series:
    """z = exp(x) from z' = x' z."""
    z = [bind(exp_p, x[0])]
    for k in range(1, order + 1):
        z.append(_sum([x[j] * z[k - j] * (j / k) for j in range(1, min(k + 1, len(x)))]))
    return tuple(z)


def _exponential_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    return [_exponential(args[0], order)]


def _power_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    x, y = args
    if len(y) == 1:
        return _through_derivative(prim, args, params, order)
    exponent, _ = trace_flat(lambda x, y: [mul(y, log(x))], [aval_of(s[0]) for s in args], kind="jet")
    (series,) = _propagate(exponent, args, order)
    factor = _exponential((_zero(x[0]), *series[1:]), order)
    return [_convolved(mul, (bind(pow_p, x[0], y[0]),), factor, order)]


# ------------------------------------------------------------------------------------ loops and branches


def _scan_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    graph, n_consts, n_carry = params["graph"], params["n_consts"], params["n_carry"]
    consts, carry = args[:n_consts], [_padded(s, order) for s in args[n_consts : n_consts + n_carry]]

    def step(carry: Any, x: Any) -> Any:
        outs = [_padded(s, order) for s in _propagate(graph, [*consts, *carry, *x], order)]
        return outs[:n_carry], outs[n_carry:]

    xs = [tuple([as_value(c) for c in s]) for s in args[n_consts + n_carry :]]
    options = {k: params[k] for k in ("length", "reverse", "unroll")}
    carry, ys = lax.scan(step, carry, xs, **options)
    return [*carry, *ys]


def _while_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    n_cond, n = params["n_cond_consts"], params["n_cond_consts"] + params["n_body_consts"]
    cond_consts = [s[0] for s in args[:n_cond]]
    return lax.while_loop(
        lambda carry: eval_graph(params["cond"], [*cond_consts, *[s[0] for s in carry]])[0],
        lambda carry: [_padded(s, order) for s in _propagate(params["body"], [*args[n_cond:n], *carry], order)],
        [_padded(s, order) for s in args[n:]],
        max_steps=params["max_steps"],
    )


def _cond_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    def branch(graph: Graph) -> Callable[..., Any]:
        return lambda *operands: [_padded(s, order) for s in _propagate(graph, operands, order)]

    operands = [tuple([as_value(c) for c in s]) for s in args[1:]]
    return lax.switch(args[0][0], [branch(g) for g in params["branches"]], *operands)


def _call_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    """Calls of a graph; of a function with a vjp rule the function itself counts, as its rule has no forward mode."""
    return _propagate(params["graph"], args, order)


_RULES: dict[Primitive, Callable[..., list[Series]]] = {
    mul_p: _product_rule, dot_general_p: _product_rule, conv_general_dilated_p: _product_rule, div_p: _quotient_rule,
    exp_p: _exponential_rule, pow_p: _power_rule, scan_p: _scan_rule, while_p: _while_rule, cond_p: _cond_rule, jit_p: _call_rule,
    checkpoint_p: _call_rule, custom_vjp_p: _call_rule,
}  # fmt: skip


# --------------------------------------------------------------------------------- rules that follow


def _linear_rule(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    """A linear operation on every coefficient; integers (indices, conditions) stay."""
    coefficients = []
    for k in range(max(len(s) for s in args)):
        xs = [s[k] if k < len(s) else _zero(s[0]) if _is_smooth(s[0]) else s[0] for s in args]
        out = bind(prim, *xs, **params)
        coefficients.append(out if prim.multiple_results else [out])
    return [tuple(c) for c in zip(*coefficients)]


def _derivative_graph(
    prim: Primitive, avals: Sequence[Aval], out_avals: Sequence[Aval], params: dict[str, Any], moving: Sequence[bool]
) -> tuple[Graph, list[Any], list[bool], bool]:
    """The jvp rule of a primitive as a graph: (primals, tangents of those that move, outputs) -> tangents.

    Returns it, what it closes over, which outputs have a tangent, and whether it reads the outputs.
    """
    n, nonzero = len(avals), [False] * len(out_avals)

    def rule(*xs: Any) -> list[Any]:
        primals, given, outs = xs[:n], iter(xs[n:]), xs[n + sum(moving) :]
        tangents = tuple([next(given) if m else None for m in moving])
        if prim.has("jvp_call"):
            result = prim.rule("jvp_call")(primals, tangents, **params)[1]
        elif prim.multiple_results:
            result = prim.rule("jvp")(primals, tangents, list(outs), **params)
        else:
            result = [prim.rule("jvp")(primals, tangents, outs[0], **params)]
        nonzero[:] = [t is not None for t in result]
        return [t for t in result if t is not None]

    tangents = [a.strong() for a, m in zip(avals, moving) if m]
    graph, captures = trace_flat(rule, [*avals, *tangents, *out_avals], kind="jet", name=prim.name)
    graph = dce(graph)
    outputs = set(graph.inputs[n + sum(moving) : n + sum(moving) + len(out_avals)])
    reads = any(a in outputs for e in graph.eqns for a in e.inputs) or any(a in outputs for a in graph.outputs)
    return graph, list(captures), nonzero, reads


def _through_derivative(prim: Primitive, args: Sequence[Series], params: dict[str, Any], order: int) -> list[Series]:
    """Any primitive, from its jvp rule: z_(k + 1) = [t^k] J(x(t)) x'(t) / (k + 1)."""
    primals = [s[0] for s in args]
    out = bind(prim, *primals, **params)
    outs = list(out) if prim.multiple_results else [out]
    moving = [len(s) > 1 for s in args]
    graph, captures, nonzero, reads_outs = _derivative_graph(
        prim, [aval_of(x) for x in primals], [aval_of(o) for o in outs], params, moving
    )
    slopes = [tuple([k * c for k, c in enumerate(s)][1:]) for s, m in zip(args, moving) if m]
    series = [[o] for o in outs]

    def slope(k: int) -> list[Series]:
        """The first k + 1 coefficients of the derivatives, from as many of everything else."""
        given = [s[: k + 1] for s in (*args, *slopes, *[tuple(z) for z in series])]
        return _propagate(graph, [*given, *[(c,) for c in captures]], k)

    moved = [z for z, nz in zip(series, nonzero) if nz]
    if not moved:
        return [tuple(z) for z in series]
    whole = None if reads_outs else slope(order - 1)
    for k in range(order):
        for z, s in zip(moved, whole or slope(k)):
            z.append(s[k] / (k + 1) if k < len(s) else _zero(z[0]))
    return [tuple(z) for z in series]


def _propagate(graph: Graph, inputs: Sequence[Series], order: int) -> list[Series]:
    """The series of a graph's outputs, up to the coefficient of t ** order."""
    env: dict[Any, Any] = {v: tuple(s[: order + 1]) for v, s in zip(graph.inputs, inputs, strict=True)}

    def series_of(a: Any) -> Series:
        return env[a] if a in env else (read({}, a),)

    for e in graph.eqns:
        prim: Any = e.prim
        args = [series_of(a) for a in e.inputs]
        smooth = any(dtypes.is_inexact(v.aval.dtype) for v in e.outputs)
        if not smooth or all(len(s) == 1 for s in args):
            out = bind(prim, *[s[0] for s in args], **e.params)
            outs = [(o,) for o in (out if prim.multiple_results else [out])]
        elif prim in _RULES:
            outs = _RULES[prim](prim, args, e.params, order)
        elif prim.name in LINEAR:
            outs = _linear_rule(prim, args, e.params, order)
        else:
            outs = _through_derivative(prim, args, e.params, order)
        env.update((v, tuple(o)) for v, o in zip(e.outputs, outs))
    return [series_of(a) for a in graph.outputs]


# ------------------------------------------------------------------------------------------ front end


def _checked(primals: Sequence[Any], series: Sequence[Sequence[Any]]) -> tuple[list[Series], int]:
    if len(primals) != len(series):
        raise TreeError(f"jet takes a series for each primal; found {len(primals)} primals and {len(series)} series")
    lengths = {len(s) for s in series}
    if len(lengths) != 1:
        raise ShapeError(f"jet: the series must have one length; found {sorted(lengths)}")
    out = []
    for i, (x, terms) in enumerate(zip(primals, series)):
        x = as_value(x, f"primal {i} of jet")
        if not _is_smooth(x):
            raise DTypeError(f"jet: primal {i} is {aval_of(x)}; a Taylor series needs floats. Convert it.")
        coefficients = [as_type(as_value(c, f"a term of series {i} of jet"), x.dtype) for c in terms]
        for c in coefficients:
            if c.shape != x.shape:
                raise ShapeError(f"jet: a term of series {i} has shape {c.shape}; its primal has {x.shape}")
        out.append((x, *coefficients))
    return out, lengths.pop()


def jet(
    fun: Callable[..., Any], primals: Sequence[Any], series: Sequence[Sequence[Any]], factorial_scaled: bool = True
) -> tuple[Any, Any]:
    """The Taylor series of ``fun(x(t))`` at t = 0, given those of its arguments.

    Args:
        fun: takes arrays, returns a pytree of arrays.
        primals: x(0) of every argument, float arrays.
        series: for every argument a list of n arrays, the derivatives x'(0), x''(0) ... x^(n)(0).
        factorial_scaled: series hold derivatives; False: Taylor coefficients, x^(k)(0) / k!.

    Returns:
        ``(fun(x(0)), series)``; in place of every array of the result a list of n arrays.

    >>> value, (first, second) = jet(fnp.sin, (0.0,), ((1.0, 0.0),))
    >>> float(value), float(first), float(second)
    (0.0, 1.0, 0.0)
    """
    inputs, order = _checked(primals, series)
    factorials = [math.factorial(k) if factorial_scaled else 1 for k in range(order + 1)]
    inputs = [tuple([c / f if f > 1 else c for c, f in zip(s, factorials)]) for s in inputs]
    traced = make_graph(fun)(*[s[0] for s in inputs])
    outs = _propagate(traced.graph, [*inputs, *[(c,) for c in traced.consts]], order)
    values = [as_value(s[0]) for s in outs]
    terms = []
    for v, s in zip(values, outs):
        rest = [as_value(c) for c in s[1:]] + [_zero(v)] * (order + 1 - len(s))
        terms.append([c * f if f > 1 else c for c, f in zip(rest, factorials[1:])])
    return tree.unflatten(traced.out_tree, values), tree.unflatten(traced.out_tree, terms)


jet2 = partial(jet, factorial_scaled=False)
