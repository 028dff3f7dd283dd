"""checkpoint (remat): keep the inputs as the only residuals, recompute the rest in the backward pass.

One primitive holds the checkpointed graph.  Its tangent is again a checkpoint: of the graph (inputs, saved
values, tangents) -> tangents of the outputs, in which the primal is computed anew.  Transposing that graph
computes the primal part forward and walks the tangent part backward, all inside one closed graph; so the
recomputation happens where the backward pass runs, and differentiating again is nothing new.

Source: Chen, Xu, Zhang, Guestrin, "Training Deep Nets with Sublinear Memory Cost" (2016).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..errors import MissingRuleError, RefError, StaticArgumentError
from ..interpret import run_graph
from ..ir import Aval, Eqn, Graph, Var, subgraphs
from ..mutable import Carried, carrying
from ..passes.dce import dce
from ..primitive import Linear, Primitive
from ..signatures import wraps
from ..trace import (
    Builder,
    Tracer,
    aval_of,
    bind,
    bind_known,
    concrete_value,
    eval_graph,
    read,
    state,
    trace_flat,
    values_known,
)
from ..traceback import user_frames
from .calls import batch_closed, memoised, transpose_closed
from .flat import (
    FlatFunction,
    argument_names,
    check_function,
    check_leaf,
    positional_names,
    resolve_argnums,
)
from .jvp import linearize_graph, quiet_graph

__all__ = [
    "checkpoint",
    "checkpoint_name",
    "checkpoint_p",
    "checkpoint_policies",
    "remat",
    "tangent_graph",
    "trace_call",
]

checkpoint_p = Primitive("checkpoint", multiple_results=True)
name_p = Primitive("name")

Policy = Callable[..., bool]

# ---------------------------------------------------------------------------------------- policies


class checkpoint_policies:
    """Which intermediate values the forward pass keeps: ``policy(primitive, *avals, **params) -> bool``."""

    @staticmethod
    def nothing_saveable(prim: Primitive, *_: Aval, **params: Any) -> bool:
        """Recompute everything (the default)."""
        return False

    @staticmethod
    def everything_saveable(prim: Primitive, *_: Aval, **params: Any) -> bool:
        """Recompute nothing: as without checkpoint."""
        return True

    @staticmethod
    def dots_saveable(prim: Primitive, *_: Aval, **params: Any) -> bool:
        """Keep the results of matrix products and convolutions."""
        return prim.name in ("dot_general", "conv_general_dilated")

    checkpoint_dots = dots_saveable

    @staticmethod
    def dots_with_no_batch_dims_saveable(prim: Primitive, *_: Aval, **params: Any) -> bool:
        """Keep the results of matrix products without batch dimensions."""
        return prim.name == "dot_general" and not params["dimension_numbers"][1][0]

    checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable

    @staticmethod
    def save_only_these_names(*names: str) -> Policy:
        """Keep the values that ``checkpoint_name`` has given one of these names."""
        return lambda prim, *_, **params: prim is name_p and params["name"] in names

    @staticmethod
    def save_any_names_but_these(*names: str) -> Policy:
        """Keep every named value but these."""
        return lambda prim, *_, **params: prim is name_p and params["name"] not in names

    @staticmethod
    def save_anything_except_these_names(*names: str) -> Policy:
        """Keep every value, named or not, but those of these names."""
        return lambda prim, *_, **params: prim is not name_p or params["name"] not in names

    @staticmethod
    def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
        """Keep what one of two policies keeps."""
        return lambda prim, *avals, **params: policy_1(prim, *avals, **params) or policy_2(prim, *avals, **params)

    @staticmethod
    def save_and_offload_only_these_names(
        *, names_which_can_be_saved: Sequence[str], names_which_can_be_offloaded: Sequence[str],
        offload_src: str = "device", offload_dst: str = "pinned_host",
    ) -> Policy:  # fmt: skip
        """Keep the values of these names; those that JAX would move to the host's memory are in it already."""
        return checkpoint_policies.save_only_these_names(*names_which_can_be_saved, *names_which_can_be_offloaded)

    @staticmethod
    def offload_dot_with_no_batch_dims(offload_src: str = "device", offload_dst: str = "pinned_host") -> Policy:
        """``dots_with_no_batch_dims_saveable``: what JAX would move to the host's memory is in it already."""
        return checkpoint_policies.dots_with_no_batch_dims_saveable


def checkpoint_name(x: Any, name: str) -> Any:
    """Names the arrays in ``x`` for the policies of ``checkpoint``; the identity otherwise.

    >>> import fx, numpy as np
    >>> policy = fx.checkpoint_policies.save_only_these_names("hidden")
    >>> f = fx.checkpoint(lambda x: np.sin(fx.checkpoint_name(np.exp(x), "hidden")), policy=policy)
    >>> round(float(fx.grad(f)(0.0)), 4)
    0.5403
    """
    return tree.map(lambda v: bind(name_p, v, name=name), x)


name_p.def_abstract(lambda x, name: x)
name_p.def_impl(lambda x, name: x)
name_p.def_jvp(lambda primals, tangents, out, name: tangents[0])
name_p.def_transpose(lambda ct, inputs, name: (ct,))
name_p.def_batch(lambda size, args, dims, name: (bind(name_p, args[0], name=name), dims[0]))

# ------------------------------------------------------------------------------------------- rules

checkpoint_p.def_abstract(lambda *avals, graph, **_: graph.out_avals)
checkpoint_p.def_impl(lambda *args, graph, **_: run_graph(graph, [np.asarray(a) for a in args]))


def _saved(graph: Graph, policy: Policy | None) -> tuple[Eqn, ...]:
    if policy is None:
        return ()
    return tuple(e for e in graph.eqns if e.outputs and policy(e.prim, *[a.aval for a in e.inputs], **e.params))


def tangent_graph(
    graph: Graph, wrt: tuple[bool, ...], saved: tuple[Eqn, ...] = ()
) -> tuple[Graph, tuple[Any, ...], tuple[bool, ...]]:
    """(inputs, saved values, tangents where wrt) -> tangents of the outputs that are not zero."""

    def make() -> tuple[Any, Sequence[Any]]:
        n = len(graph.inputs)
        saved_vars = [v for e in saved for v in e.outputs]
        avals = [v.aval for v in [*graph.inputs, *saved_vars]]
        avals += [v.aval.strong() for v, w in zip(graph.inputs, wrt) if w]
        nonzero: list[bool] = []

        for name in _happening_once(graph):
            raise MissingRuleError(
                f"{name} happens once, and its results would be needed when the backward pass computes {graph.name!r} again."
                " Call it outside of the checkpoint (or custom_vmap), and pass its results in."
            )

        def f(*args: Any) -> list[Any]:
            ts = iter(args[n + len(saved_vars) :])
            given = dict(zip(saved_vars, args[n:]))
            lin = linearize_graph(quiet_graph(graph), args[:n], wrt, given=given)
            nonzero.extend(lin.nonzero)
            return eval_graph(lin.linear, [*ts, *lin.residuals])  # apart from the primal, so that it can be transposed

        g, captures = trace_flat(f, avals, kind="checkpoint", name=graph.name)
        return (dce(g), tuple(captures), tuple(nonzero)), captures

    return memoised(graph, ("checkpoint tangent", wrt, tuple(id(e) for e in saved)), make)


def _happening_once(graph: Graph) -> Iterator[str]:
    """The names of equations that have an effect, and results."""
    for e in graph.eqns:
        inner = subgraphs(e.params)
        if e.effect is not None and e.outputs and not inner:
            yield e.prim.name  # type: ignore[attr-defined]
        for _, g in inner:
            yield from _happening_once(g)


@checkpoint_p.def_jvp_call
def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    graph: Graph,
    policy: Policy | None,
    prevent_cse: bool,
    resume: Mapping[Var, Any] | None = None,
) -> tuple[list[Any], list[Any]]:
    saved = _saved(graph, policy)
    forward = graph
    if saved:
        extra = tuple(v for e in saved for v in e.outputs)
        forward = graph.memo(("checkpoint forward", extra), lambda: graph.replace(outputs=(*graph.outputs, *extra)))
    params = {"graph": forward, "policy": policy, "prevent_cse": False}
    if resume is None:
        outs = bind(checkpoint_p, *primals, **params)
    else:
        values = [read(resume, a) for a in forward.outputs]
        outs = bind_known(checkpoint_p, primals, params, values, forward.out_avals)
    n = len(graph.outputs)
    wrt = tuple(t is not None for t in tangents)
    linear, captures, nonzero = tangent_graph(graph, wrt, saved)
    ts = [t for t in tangents if t is not None]
    t_out = iter(
        bind(checkpoint_p, *primals, *outs[n:], *ts, *captures, graph=linear, policy=None, prevent_cse=prevent_cse)
    )
    return outs[:n], [next(t_out) if nz else None for nz in nonzero]


@checkpoint_p.def_transpose
def _transpose(
    cts: Sequence[Any], inputs: Sequence[Any], *, graph: Graph, policy: Policy | None, prevent_cse: bool
) -> list[Any]:
    linear = [isinstance(x, Linear) for x in inputs]
    given = [c is not None for c in cts]
    transposed, captures, nonzero = transpose_closed(graph, linear, given)
    others = [x for x in inputs if not isinstance(x, Linear)]
    out = iter(
        bind(
            checkpoint_p, *others, *(c for c in cts if c is not None), *captures,
            graph=transposed, policy=None, prevent_cse=prevent_cse,
        )
    )  # fmt: skip
    per_linear = iter([next(out) if nz else None for nz in nonzero])
    return [next(per_linear) if is_lin else None for is_lin in linear]


@checkpoint_p.def_batch
def _batch(size: int, args: Sequence[Any], dims: Sequence[int | None], *, graph: Graph, **params: Any) -> Any:
    batched, captures, out_dims = batch_closed(graph, dims, state.mapped[-1])
    return bind(checkpoint_p, *args, *captures, graph=batched, **params), list(out_dims)


# --------------------------------------------------------------------------------------- front end


@user_frames
def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    policy: Policy | None = None,
    prevent_cse: bool = True,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Callable[..., Any]:
    """``fun`` whose intermediate values are recomputed, not kept, when it is differentiated.

    Args:
        fun: the function (without it, a decorator is returned).
        policy: which values to keep all the same, see ``fx.checkpoint_policies``.
        prevent_cse: keep the compiler from merging the recomputation with the forward pass.
        static_argnums: positional arguments that are not arrays.
        static_argnames: keyword arguments that are not arrays; those of ``static_argnums`` may be given by name too.

    >>> import fx, numpy as np
    >>> fx.grad(fx.checkpoint(lambda x: np.sin(np.sin(x))))(0.5)
    Array(0.7786..., dtype=float32, weak_type=True)
    """
    if fun is None:
        return functools.partial(
            checkpoint,
            policy=policy,
            prevent_cse=prevent_cse,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
        )

    check_function(fun, "checkpoint", "For a decorator with options: @fx.checkpoint(policy=...).")
    if policy is not None:
        check_function(policy, "policy= of checkpoint", "See fx.checkpoint_policies.")

    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names_of = dict(enumerate(positional_names(fun))) if numbers else {}
    static_names = {static_argnames} if isinstance(static_argnames, str) else set(static_argnames)
    static_names |= {names_of[i] for i in numbers if i in names_of}

    @user_frames
    @wraps(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        try:
            return once(fun, *args, **kwargs)
        except RefError as e:

            def run(refs: Carried, given: Any) -> Any:
                out, values = once(refs.closed(fun), *given[0], **given[1])
                refs.write(values)
                return out

            return carrying(e, run, (args, kwargs))

    def once(fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        fixed = {n: kwargs.pop(n) for n in static_names if n in kwargs}
        by_position = [i for i in numbers if names_of.get(i) not in fixed]
        static = resolve_argnums(by_position, len(args), "static_argnums", StaticArgumentError) if by_position else ()

        def call(*dynamic: Any, **kw: Any) -> Any:
            it = iter(dynamic)
            return fun(*[a if i in static else next(it) for i, a in enumerate(args)], **fixed, **kw)

        dynamic = [a for i, a in enumerate(args) if i not in static]
        leaves, in_tree = tree.flatten((tuple(dynamic), kwargs))
        flat = FlatFunction(call, in_tree)
        flat.name = getattr(fun, "__name__", "checkpointed")
        names = argument_names(fun, args, kwargs) if not static else None
        params = {"policy": policy, "prevent_cse": prevent_cse}
        keep = functools.partial(_saved, policy=policy)
        outs = trace_call(checkpoint_p, flat, leaves, "checkpoint", names, lambda graph: params, keep)
        assert flat.out_tree is not None
        return tree.unflatten(flat.out_tree, outs)

    return checkpointed


remat = checkpoint


def trace_call(
    prim: Primitive,
    flat: FlatFunction,
    leaves: Sequence[Any],
    kind: str,
    names: Sequence[str] | None,
    params: Callable[[Graph], dict[str, Any]],
    keep: Callable[[Graph], Sequence[Eqn]] | None = None,
) -> list[Any]:
    """Traces a function into a graph of its own and binds ``prim`` to it.

    Where values are known the trace evaluates (so that Python control flow works under plain grad), and the equation
    is not evaluated again.

    Args:
        params: the equation's other parameters, from the graph.
        keep: the equations whose values the derivative may resume from; None: it does not resume.
    """
    for i, x in enumerate(leaves):
        check_leaf(x, names[i] if names else f"argument leaf {i} of {flat.name}")
    evaluate = values_known()
    b = Builder(kind, flat.name, evaluate=evaluate, absorb=True)
    with b:
        ins = [b.input(aval_of(x), concrete_value(x), n) for x, n in zip(leaves, names or [""] * len(leaves))]
        if keep is not None:  # a custom rule's function may compute as it likes: its derivative is the rule
            b.active = {t.variable for t, x in zip(ins, leaves) if type(x) is Tracer and x.is_active}
        graph, captures = b.close(flat(*ins))
    args, all_params = [*leaves, *captures], {"graph": graph, **params(graph)}
    if not evaluate or any(type(a) is Var and a not in b.values for a in graph.outputs):
        outs: list[Any] = bind(prim, *args, **all_params)
        return outs
    values = [np.asarray(read(b.values, a)) for a in graph.outputs]
    resume = None
    if keep is not None:
        wanted = [*graph.outputs, *(v for e in keep(graph) for v in e.outputs)]
        if all(type(v) is not Var or v in b.values for v in wanted):
            resume = {v: b.values[v] for v in wanted if type(v) is Var}
    return bind_known(prim, args, all_params, values, graph.out_avals, resume)
