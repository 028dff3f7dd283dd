"""Loops: scan, map, while_loop, fori_loop.

The functions that they take are traced, never run: into a closed graph, whose free arrays and tracers become operands of
the equation.  Where nothing else is being traced (eagerly, or under plain ``grad``) the equation stands in a jit of its
own, so that the loop runs compiled.  Under ``fx.disable_jit()`` they are Python's own loops.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..api import device_put, vmap
from ..api.bodies import Traced, bind_control, error, leaves_of, of_type, settle_carry, trace_body
from ..config import config
from ..dtypes import bool_, is_float, is_integer, promote
from ..errors import CarryTypeError, DTypeError, FxError, RefError, ShapeError
from ..ir import Aval
from ..mutable import Carried, Ref, carrying, refuse_refs
from ..numpy.manipulation import stack
from ..primitives.elementwise import add, bitwise_and, lt
from ..primitives.joining import concatenate, slice_in_dim
from ..primitives.shaping import reshape
from ..sizes import as_size, is_sized
from ..trace import aval_of, concrete_value
from ..traceback import user_frames
from ..transforms.flat import (
    argument_count_fault,
    argument_names,
    check_function,
    function_name,
)
from ..transforms.scan import scan_p
from ..transforms.while_loop import while_p

__all__ = ["fori_loop", "map", "scan", "scan_p", "while_loop", "while_p"]

# ---------------------------------------------------------------------------------------- scan


@user_frames
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
) -> tuple[Any, Any]:
    """A loop that carries a state along an axis: ``carry, ys[i] = f(carry, xs[i])`` for each i.

    Its derivatives are loops again; reverse mode keeps what the backward loop needs of every iteration, unless the body
    is a ``fx.checkpoint``.

    Args:
        f: ``(carry, x) -> (carry, y)``; it is traced once.  The carry keeps its structure, shapes and dtypes.
        init: the first carry, any pytree; Python numbers take the dtype that the body gives them.
        xs: pytree of arrays with one leading axis, or None.
        length: the number of iterations, needed where ``xs`` has no leaves.
        reverse: run from the last x to the first; ``ys[i]`` still belongs to ``xs[i]``.
        unroll: how many iterations the compiled loop may do in one step (True: all).
        _split_transpose: accepted for compatibility.

    Returns:
        The last carry, and the ys, stacked along a new leading axis.

    Raises:
        CarryTypeError: the body takes other arguments, or returns a carry of another type, or no pair.
        ShapeError: the leading axes differ among themselves or from ``length``.

    >>> import fx, numpy as np
    >>> fx.lax.scan(lambda c, x: (c + x, c * x), 0.0, np.float32([1, 2, 3]))
    (Array(6., dtype=float32), Array([0., 2., 9.], dtype=float32))
    """
    check_function(f, "scan")
    _check_count("scan", "body", f, "(carry, x)")
    try:
        return _scan(f, init, xs, length, reverse, unroll, (function_name(f), argument_names(f, (init, xs), {})))
    except RefError as e:
        return _scan_with_refs(e, f, init, xs, length, reverse, unroll)


def _scan_with_refs(
    refused: RefError, f: Callable[..., Any], init: Any, xs: Any, length: int | None, reverse: bool, unroll: int | bool
) -> tuple[Any, Any]:
    """``scan`` whose body uses refs: those of outside go with the carry, of those in ``xs`` each iteration has its slice."""
    refuse_refs("the carry of scan", init)
    leaves, structure = tree.flatten(xs)
    given = [i for i, x in enumerate(leaves) if type(x) is Ref]

    def run(refs: Carried, _: Any) -> tuple[Any, Any]:
        pure, outside = refs.pure(f), Carried([leaves[i] for i in given])

        def body(carry: Any, x: Sequence[Any]) -> Any:
            rows = Carried([Ref(x[i]) for i in given])
            x = list(x)
            for i, r in zip(given, rows.refs):
                x[i] = r
            out, held = pure(carry[1], carry[0], tree.unflatten(structure, x))
            if not isinstance(out, (tuple, list)) or len(out) != 2:
                return out
            return (out[0], held), (out[1], rows.read())

        values = list(leaves)
        for i, v in zip(given, outside.read()):
            values[i] = v
        names = (function_name(f), [""] * (len(tree.leaves(init)) + len(refs.refs) + len(values)))
        (carry, held), (ys, own) = _scan(body, (init, refs.read()), values, length, reverse, unroll, names)
        refs.write(held)
        outside.write(own)
        return carry, ys

    return carrying(refused, run, [leaves[i] for i in given])


def _check_count(what: str, role: str, f: Callable[..., Any], given: str) -> None:
    """Raises CarryTypeError if ``f`` does not take what a loop gives it."""
    if fault := argument_count_fault(f, given.count(",") + 1):
        raise error(
            CarryTypeError, f"{what} calls its {role} with {given}; {function_name(f)!r} does not fit: {fault}."
        )


def _scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any,
    length: int | None,
    reverse: bool,
    unroll: int | bool,
    names: tuple[str, Sequence[str]],
) -> tuple[Any, Any]:
    name, leaf_names = names
    init_leaves, x_leaves = leaves_of("init", init), leaves_of("xs", xs)
    n = _scan_length(x_leaves, [tree.keystr(p) for p, _ in tree.leaves_with_path(xs)], length)
    if config.disable_jit and n > 0:
        return _python_scan(f, init, xs, n, reverse)

    def pair(carry: Any, x: Any) -> Any:
        out = f(carry, x)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise error(
                CarryTypeError,
                f"scan: the body {name!r} must return a pair (carry, y); it returned a {type(out).__name__}: {out!r}",
            )
        return tuple(out)

    slices = [a.with_(shape=a.shape[1:]) for a in (aval_of(x) for x in x_leaves)]

    def trace(carry: Sequence[Aval]) -> tuple[Traced, tree.TreeDef]:
        body = trace_body("scan", pair, (init, xs), [*carry, *slices], leaf_names, name)
        return body, body.out_tree.subtrees[0]

    body, carry = settle_carry(f"scan: the body {name!r}", init_leaves, tree.structure(init), leaf_names, trace)
    outs = bind_control(
        scan_p, [*body.consts, *carry, *x_leaves],
        graph=body.graph, n_consts=body.n_consts, n_carry=len(carry), length=n, reverse=bool(reverse), unroll=_unroll(unroll, n),
    )  # fmt: skip
    result: tuple[Any, Any] = tree.unflatten(body.out_tree, outs)
    return result


def _unroll(unroll: int | bool, n: int) -> int:
    if unroll is True:
        return max(n, 1)
    if operator.index(unroll) < 0:
        raise ShapeError(f"scan: unroll={unroll} must be a positive integer, or True")
    return max(operator.index(unroll), 1)


def _scan_length(xs: Sequence[Any], paths: Sequence[str], length: int | None) -> int:
    sizes: dict[str, int] = {}
    for x, path in zip(xs, paths):
        shape = aval_of(x).shape
        if not shape:
            raise error(
                ShapeError,
                f"scan: xs{path} is a scalar ({aval_of(x)}); scan runs over the leading axis of each leaf of xs."
                " Close over values that are the same in every iteration, or put them into the carry.",
            )
        sizes[f"xs{path}"] = shape[0]
    if length is not None:
        try:
            sizes["length"] = as_size(length)
        except FxError:
            raise  # a traced value
        except TypeError:
            raise error(DTypeError, f"scan: length must be a Python integer; found {length!r}") from None
    if not sizes:
        raise error(ShapeError, "scan: xs has no arrays; give the number of iterations: scan(f, init, None, length=n)")
    n = next(iter(sizes.values()))
    if any(m != n for m in sizes.values()):
        listed = ", ".join(f"{k}: {v}" for k, v in sizes.items())
        raise error(ShapeError, f"scan: the leading axes and length must be equal; found {listed}")
    if n < 0:
        raise error(ShapeError, f"scan: length must not be negative; found {n}")
    return n


def _python_scan(f: Callable[..., Any], carry: Any, xs: Any, n: int, reverse: bool) -> tuple[Any, Any]:
    carry, xs, ys = device_put(carry), device_put(xs), []
    for i in range(n - 1, -1, -1) if reverse else range(n):
        carry, y = f(carry, tree.map(lambda x, i=i: x[i], xs))
        ys.append(y)
    return carry, tree.map(lambda *rows: stack(rows), *(ys[::-1] if reverse else ys))


# ------------------------------------------------------------------------------- loops on scan and while


@user_frames
def map(f: Callable[..., Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """``f`` of each slice of ``xs`` along the leading axes, one after the other; the results stacked.

    Args:
        batch_size: take so many slices at once, through ``vmap``; the last batch may be smaller.

    >>> import fx, numpy as np
    >>> fx.lax.map(lambda x: x * x, np.arange(4))
    Array([0, 1, 4, 9], dtype=int64)
    """
    check_function(f, "map")
    if batch_size is None:
        return scan(lambda _, x: ((), f(x)), (), xs)[1]
    if operator.index(batch_size) < 1:
        raise ShapeError(f"map: batch_size must be at least 1; found {batch_size}")
    leaves = leaves_of("xs", xs)
    n = _scan_length(leaves, [tree.keystr(p) for p, _ in tree.leaves_with_path(xs)], None)
    whole = n - n % batch_size
    batched = vmap(f)
    parts = []
    if whole or not n:
        blocks = _of_leaves(
            lambda x: reshape(slice_in_dim(x, 0, whole), (whole // batch_size, batch_size, *aval_of(x).shape[1:])), xs
        )
        ys = scan(lambda _, x: ((), batched(x)), (), blocks)[1]
        parts.append(_of_leaves(lambda y: reshape(y, (whole, *y.shape[2:])), ys))
    if whole < n:
        parts.append(batched(_of_leaves(lambda x: slice_in_dim(x, whole, n), xs)))
    return parts[0] if len(parts) == 1 else _of_leaves(lambda a, b: concatenate([a, b], 0), *parts)


def _of_leaves(f: Callable[..., Any], *xs: Any) -> Any:
    """``tree.map`` that sees the words of keys."""
    leaves, (structure, *_) = zip(*[tree.flatten(x) for x in xs])
    return tree.unflatten(structure, [f(*ls) for ls in zip(*leaves, strict=True)])


@user_frames
def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any, *, max_steps: int | None = None
) -> Any:
    """Repeats ``val = body_fun(val)`` while ``cond_fun(val)`` is true.

    Forward mode works through it.  Reverse mode needs to know how many iterations there can be: give ``max_steps``, or
    use ``scan`` or ``fori_loop``.

    Args:
        cond_fun: the carry to a boolean scalar.
        body_fun: the carry to a carry of the same structure, shapes and dtypes.
        init_val: the first carry, any pytree.
        max_steps: stop after so many iterations.  Reverse mode then keeps about ``sqrt(max_steps)`` carries and computes
            the body twice.

    Raises:
        CarryTypeError: the body returns a carry of another type, or the condition no boolean scalar.

    >>> import fx
    >>> fx.lax.while_loop(lambda x: x < 100, lambda x: 2 * x, 3)
    Array(192, dtype=int32, weak_type=True)
    """
    check_function(cond_fun, "the condition of while_loop")
    check_function(body_fun, "the body of while_loop")
    _check_count("while_loop", "condition", cond_fun, "(carry)")
    _check_count("while_loop", "body", body_fun, "(carry)")
    if max_steps is not None:
        if operator.index(max_steps) < 0:
            raise ShapeError(f"while_loop: max_steps must not be negative; found {max_steps}")
    if config.disable_jit:
        known, result = _python_while(cond_fun, body_fun, init_val, max_steps)
        if known:
            return result
    try:
        return _while_loop(cond_fun, body_fun, init_val, max_steps)
    except RefError as e:
        refuse_refs("the carry of while_loop", init_val)

        def run(refs: Carried, _: Any) -> Any:
            cond, body = refs.pure(cond_fun), refs.pure(body_fun)
            start = init_val, refs.read()
            out, held = _while_loop(lambda s: cond(s[1], s[0])[0], lambda s: body(s[1], s[0]), start, max_steps)
            refs.write(held)
            return out

        return carrying(e, run)


def _while_loop(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init_val: Any, max_steps: int | None
) -> Any:
    names = (function_name(cond_fun), function_name(body_fun))
    carry_names = argument_names(body_fun, (init_val,), {})
    if max_steps is None:
        return _while(cond_fun, body_fun, init_val, None, names, carry_names)

    limit = operator.index(max_steps)

    def counted_cond(state: Any) -> Any:
        go_on = cond_fun(state[1])
        _check_predicate(aval_of(leaves_of("", go_on)[0]) if tree.leaves(go_on) else None, names[0])
        return bitwise_and(lt(state[0], np.int32(limit)), go_on)

    def counted_body(state: Any) -> Any:
        return add(state[0], np.int32(1)), body_fun(state[1])

    start = (np.zeros((), np.int32), init_val)
    return _while(counted_cond, counted_body, start, limit, names, ["the number of iterations", *carry_names])[1]


def _while(
    cond_fun: Callable[..., Any],
    body_fun: Callable[..., Any],
    init_val: Any,
    max_steps: int | None,
    names: tuple[str, str],
    carry_names: Sequence[str],
) -> Any:
    init, init_tree = leaves_of("init_val", init_val), tree.structure(init_val)

    def trace(carry: Sequence[Aval]) -> tuple[Traced, tree.TreeDef]:
        body = trace_body("while_loop", body_fun, (init_val,), carry, carry_names, names[1])
        return body, body.out_tree

    body, carry = settle_carry(f"while_loop: the body {names[1]!r}", init, init_tree, carry_names, trace)
    avals = [aval_of(x) for x in carry]
    predicate = trace_body("while_loop", cond_fun, (init_val,), avals, carry_names, names[0])
    out = predicate.graph.out_avals
    _check_predicate(out[0] if len(out) == 1 else None, names[0])
    outs = bind_control(
        while_p, [*predicate.consts, *body.consts, *carry],
        cond=predicate.graph, body=body.graph, n_cond_consts=predicate.n_consts, n_body_consts=body.n_consts, max_steps=max_steps,
    )  # fmt: skip
    return tree.unflatten(body.out_tree, outs)


def _check_predicate(found: Aval | None, name: str) -> None:
    if found is None or found.shape or found.dtype != bool_:
        raise error(
            CarryTypeError,
            f"while_loop: the condition {name!r} must return one boolean scalar; it returned {found or 'no single value'}."
            " Compare (x > 0), or reduce an array with any() or all().",
        )


def _python_while(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], val: Any, max_steps: int | None
) -> tuple[bool, Any]:
    """(True, the result), or False where the condition has no value to decide by."""
    val, steps = device_put(val), 0
    while max_steps is None or steps < max_steps:
        go_on = concrete_value(cond_fun(val))
        if go_on is None:
            return False, None
        if not go_on:
            break
        val, steps = body_fun(val), steps + 1
    return True, val


@user_frames
def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any, *, unroll: int | bool | None = None
) -> Any:
    """``for i in range(lower, upper): val = body_fun(i, val)``.

    With bounds that are known while tracing it is a ``scan``, and can be differentiated in reverse mode; with traced
    bounds it is a ``while_loop``, which has forward mode only.

    Args:
        lower, upper: integers; the index has their dtype.  Or both floats: then it is a ``while_loop`` that
            adds 1 while the index is less than ``upper``.  (JAX cuts known floats to integers, and so counts otherwise under jit.)
        body_fun: ``(i, val) -> val``; the value keeps its structure, shapes and dtypes.
        init_val: any pytree.
        unroll: as for ``scan``; only with known bounds.

    >>> import fx
    >>> fx.lax.fori_loop(0, 5, lambda i, x: x + i, 10)
    Array(20, dtype=int32, weak_type=True)
    """
    check_function(body_fun, "fori_loop")
    _check_count("fori_loop", "body", body_fun, "(i, carry)")
    try:
        return _fori_loop(lower, upper, body_fun, init_val, unroll)
    except RefError as e:
        refuse_refs("the carry of fori_loop", init_val)

        def run(refs: Carried, _: Any) -> Any:
            pure = refs.pure(body_fun)
            start = init_val, refs.read()
            out, held = _fori_loop(lower, upper, lambda i, s: pure(s[1], i, s[0]), start, unroll)
            refs.write(held)
            return out

        return carrying(e, run)


def _fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any, unroll: int | bool | None
) -> Any:
    bounds = leaves_of("lower", lower) + leaves_of("upper", upper)
    avals = [aval_of(b) for b in bounds]
    of_one_kind = any(all(is_kind(a.dtype) for a in avals) for is_kind in (is_integer, is_float))
    if len(avals) != 2 or any(a.shape for a in avals) or not of_one_kind:
        raise error(
            DTypeError,
            f"fori_loop: lower and upper must be integer scalars, or both float scalars; found {lower!r} and {upper!r}",
        )
    index = Aval((), *promote(*[(a.dtype, a.weak) for a in avals]))
    name, names = function_name(body_fun), argument_names(body_fun, (0, init_val), {})
    values: list[Any] = [b if is_sized(b) else concrete_value(b) for b in bounds]
    if values[0] is not None and values[1] is not None and is_integer(index.dtype):
        first, last = [b if is_sized(b) else int(b) for b in values]
        n = max(last - first, 0)
        if config.disable_jit:
            val = device_put(init_val)
            for i in range(first, first + n):
                val = body_fun(i, val)
            return val

        def step(carry: Any, _: Any) -> Any:
            return (add(carry[0], 1), body_fun(*carry)), None

        start = first if index.weak else np.asarray(first, index.dtype)
        return _scan(step, (start, init_val), None, n, False, 1 if unroll is None else unroll, (name, names))[0][1]
    if unroll is not None:
        raise error(DTypeError, "fori_loop: unroll needs integer bounds that are known while tracing")
    low, high = [of_type(b, index.strong()) for b in bounds]
    return _while(
        lambda state: lt(state[0], high),
        lambda state: (add(state[0], 1), body_fun(*state)),
        (low, init_val),
        None,
        (f"the index of {name}", name),
        names,
    )[1]
