"""Derivatives and batched form of ``while``.

Forward mode is one loop over (carry, tangent).  Linearized it is that loop once more, which computes the primal again
beside the tangent, as nobody knows how many iterations' residuals to keep.  Reverse mode needs a bound: with
``max_steps`` the loop is two nested scans of about ``sqrt(max_steps)`` iterations, that skip what is past the end; the
inner one is computed again in the backward pass, so about ``2 sqrt(max_steps)`` carries are held at a time.

Source of the nested scans: Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse
automatic differentiation" (1992), with two levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..dtypes import int32
from ..errors import WhileTransposeError
from ..ir import Graph, Var
from ..passes.rewrite import split
from ..primitives.control_flow import while_p
from ..primitives.elementwise import convert_element_type, select
from ..primitives.helpers import align_batch, instantiate
from ..primitives.reductions import reduce_or
from ..primitives.shaping import broadcast_in_dim
from ..trace import aval_of, bind, eval_graph, locate, named_axes, state, trace_flat
from .calls import batch_closed, jvp_closed
from .checkpoint import checkpoint_p
from .cond import cond_p, each_scalar, for_those
from .jvp import are_linear, quiet_graph
from .scan import captures_behind, fixpoint, loop_over_examples, scan_p

__all__ = ["while_p"]

Values = Sequence[Any]


# ------------------------------------------------------------------------------------ derivatives


@while_p.def_jvp_call
def _while_jvp(
    primals: Values,
    tangents: Values,
    *,
    cond: Graph,
    body: Graph,
    n_cond_consts: int,
    n_body_consts: int,
    max_steps: int | None,
) -> tuple[list[Any], list[Any]]:
    params: dict[str, Any] = {
        "cond": cond,
        "body": body,
        "n_cond_consts": n_cond_consts,
        "n_body_consts": n_body_consts,
    }
    if not are_linear(tangents):
        return _joint(primals, tangents, **params, max_steps=max_steps)
    if max_steps is not None:
        return _bounded(primals, tangents, **params, max_steps=max_steps)
    outs = bind(while_p, *primals, **params, max_steps=None)
    params.update(cond=quiet_graph(cond), body=quiet_graph(body))
    return outs, _joint(primals, tangents, **params, max_steps=None)[1]


def _joint(
    primals: Values,
    tangents: Values,
    cond: Graph,
    body: Graph,
    n_cond_consts: int,
    n_body_consts: int,
    max_steps: int | None,
) -> tuple[list[Any], list[Any]]:
    """One loop over primals and tangents."""
    cond_consts, consts, carry = split(primals, n_cond_consts, n_body_consts)
    _, t_consts, t_carry = split(tangents, n_cond_consts, n_body_consts)
    given = [t for t in t_consts if t is not None]

    def step(moved: tuple[bool, ...]) -> tuple[Any, Sequence[bool]]:
        result = jvp_closed(body, (*(t is not None for t in t_consts), *moved), moved)
        return result, result[2]

    (joint, captures, _), moved = fixpoint([t is not None for t in t_carry], step)
    first = [instantiate(t, aval_of(c).strong()) for t, c, m in zip(t_carry, carry, moved) if m]
    own, ts, rest = split(joint.inputs, len(body.inputs), len(given))
    ts_carry, captured, _ = split(rest, len(first), len(captures))
    joint = joint.replace(
        inputs=(*own[:n_body_consts], *ts, *captured, *own[n_body_consts:], *ts_carry), input_names=None
    )
    wide = cond.replace(inputs=(*cond.inputs, *(Var(v.aval) for v in ts_carry)), input_names=None)
    outs = bind(
        while_p, *cond_consts, *consts, *given, *captures, *carry, *first,
        cond=wide, body=joint, n_cond_consts=n_cond_consts, n_body_consts=n_body_consts + len(given) + len(captures),
        max_steps=max_steps,
    )  # fmt: skip
    t_outs = iter(outs[len(carry) :])
    return outs[: len(carry)], [next(t_outs) if m else None for m in moved]


def _bounded(
    primals: Values,
    tangents: Values,
    cond: Graph,
    body: Graph,
    n_cond_consts: int,
    n_body_consts: int,
    max_steps: int,
) -> tuple[list[Any], list[Any]]:
    """The derivative of the loop as two nested scans.  The counter in the carry ends it after ``max_steps``."""
    n_consts = n_cond_consts + n_body_consts
    avals = [*cond.in_avals[:n_cond_consts], *body.in_avals]
    outer = math.isqrt(max_steps)
    inner = -(-max_steps // outer) if outer else 0

    def going_on(args: Values) -> Any:
        return convert_element_type(eval_graph(cond, [*args[:n_cond_consts], *args[n_consts:]])[0], int32)

    def guarded(graph: Graph) -> Graph:
        """The graph of (consts, carry) -> carry, which does nothing once the condition is false."""
        stay = Graph(graph.inputs, (), graph.inputs[n_consts:], graph.name)
        return trace_flat(
            lambda *args: bind(cond_p, going_on(args), *args, branches=(stay, graph)),
            avals,
            kind="while",
            name=body.name,
        )[0]

    def repeated(graph: Graph, n: int) -> dict[str, Any]:
        loop = {"length": n, "reverse": False, "unroll": 1}
        return {"graph": graph, "n_consts": n_consts, "n_carry": len(avals) - n_consts, **loop}

    once = trace_flat(lambda *args: eval_graph(body, args[n_cond_consts:]), avals, kind="while", name=body.name)[0]
    steps = repeated(guarded(once), inner)
    block = trace_flat(lambda *args: bind(scan_p, *args, **steps), avals, kind="while", name=body.name)[0]
    keep = {"graph": guarded(block), "policy": None, "prevent_cse": False}
    again = trace_flat(lambda *args: bind(checkpoint_p, *args, **keep), avals, kind="while", name=body.name)[0]
    return scan_p.rule("jvp_call")(primals, tangents, **repeated(again, outer))  # type: ignore[no-any-return]


@while_p.def_transpose
def _while_transpose(cts: Values, inputs: Values, *, body: Graph, n_body_consts: int, **_: Any) -> list[Any]:
    raise locate(
        WhileTransposeError(
            f"reverse-mode differentiation of while_loop (its body is {body.name!r}): the number of iterations has no bound,"
            " so what the backward pass needs of each cannot be kept. Use scan, or fori_loop with bounds that are Python"
            " integers; or give while_loop(..., max_steps=n); or differentiate in forward mode (jvp, jacfwd)."
        ),
        state.source,
    )


# ------------------------------------------------------------------------------------------- vmap


@while_p.def_batch
def _while_batch(
    size: int,
    args: Values,
    dims: Sequence[int | None],
    *,
    cond: Graph,
    body: Graph,
    n_cond_consts: int,
    n_body_consts: int,
    max_steps: int | None,
) -> tuple[list[Any], list[int | None]]:
    axis = state.mapped[-1]
    cond_consts, consts, carry = split(args, n_cond_consts, n_body_consts)
    d_cond, d_body, d_carry = split(dims, n_cond_consts, n_body_consts)

    def of_carry(batched: Sequence[bool]) -> list[int | None]:
        return [0 if b else None for b in batched]

    def step(batched: tuple[bool, ...]) -> tuple[Any, Sequence[bool]]:
        result = batch_closed(body, (*d_body, *of_carry(batched)), axis, batched)
        return result, [d is not None for d in result[2]]

    (new_body, body_captures, _), batched = fixpoint([d is not None for d in d_carry], step)
    new_cond, cond_captures, (d_pred,) = batch_closed(cond, (*d_cond, *of_carry(batched)), axis)
    params: dict[str, Any] = {
        "cond": cond,
        "body": body,
        "n_cond_consts": n_cond_consts,
        "n_body_consts": n_body_consts,
    }
    if d_pred is None:
        first = [align_batch(size, [c], [d])[0] if b else c for c, d, b in zip(carry, d_carry, batched)]
        outs = bind(
            while_p, *cond_consts, *cond_captures, *consts, *body_captures, *first,
            cond=captures_behind(new_cond, n_cond_consts, len(carry)),
            body=captures_behind(new_body, n_body_consts, len(carry)),
            n_cond_consts=n_cond_consts + len(cond_captures), n_body_consts=n_body_consts + len(body_captures),
            max_steps=max_steps,
        )  # fmt: skip
        return outs, of_carry(batched)
    if (cond.effects or body.effects) and axis.name not in named_axes(params):
        return loop_over_examples(while_p, size, args, dims, {**params, "max_steps": max_steps})
    everything = (True,) * len(carry)
    new_cond, cond_captures, _ = batch_closed(cond, (*d_cond, *of_carry(everything)), axis, True)
    if max_steps is not None:
        consts, d_body = each_scalar(size, consts, d_body)
    new_body, body_captures, _ = batch_closed(body, (*d_body, *of_carry(everything)), axis, True)
    return _each_to_its_end(
        [*cond_consts, *cond_captures],
        [*consts, *body_captures],
        align_batch(size, carry, d_carry),
        captures_behind(new_cond, n_cond_consts, len(carry)),
        captures_behind(new_body, n_body_consts, len(carry)),
        [*d_body, *[None] * len(body_captures)],
        max_steps,
    ), of_carry(everything)


def _each_to_its_end(
    cond_consts: Values, body_consts: Values, carry: Values, cond: Graph, body: Graph, d_body: Sequence[int | None],
    max_steps: int | None,
) -> list[Any]:  # fmt: skip
    """The loop of a batch: it goes on while any example does; one that has finished keeps its carry bit for bit.

    Which examples go on is carried along (first), so that the condition is computed once an iteration.  Where there is a
    reverse mode, a body that is infinitely steep for those that have finished leaves no NaN.
    """
    n, m = len(cond_consts), len(body_consts)
    going_on = eval_graph(cond, [*cond_consts, *carry])[0]
    avals = [*cond.in_avals[:n], *body.in_avals[:m], aval_of(going_on), *body.in_avals[m:]]

    def step(*args: Any) -> list[Any]:
        of_cond, of_body, (go, *old) = split(args, n, m)
        given = [*of_body, *old]
        if max_steps is not None:
            given = for_those(go, given, [*d_body, *[0] * len(old)])
        new = [select(broadcast_in_dim(go, aval_of(a).shape, (0,)), b, a) for a, b in zip(old, eval_graph(body, given))]
        return [eval_graph(cond, [*of_cond, *new])[0], *new]

    steps, more = trace_flat(step, avals, kind="vmap", name=body.name)
    assert not more
    any_left = trace_flat(lambda go, *_: [reduce_or(go, (0,))], avals[n + m :], kind="vmap", name=cond.name)[0]
    outs: list[Any] = bind(
        while_p, *cond_consts, *body_consts, going_on, *carry,
        cond=any_left, body=steps, n_cond_consts=0, n_body_consts=n + m, max_steps=max_steps,
    )  # fmt: skip
    return outs[1:]
