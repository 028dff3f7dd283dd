"""``fx.core``, ``fx.ad_checkpoint``, ``fx.profiler``: what programs for JAX that look at their graphs find there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import core, lax
from fx.ad_checkpoint import print_saved_residuals
from fx.errors import ConcretizationError, UnsupportedArgumentError

X = fnp.linspace(0.1, 0.9, 3)


def inverse(fun: Any) -> Any:
    """The inverse of a chain of functions, as JAX's documentation writes an interpreter."""
    known = {lax.exp_p: fnp.log, lax.tanh_p: fnp.arctanh}

    def wrapped(y: Any) -> Any:
        closed = fx.make_jaxpr(fun)(y)
        env = dict(zip(closed.jaxpr.outvars, [y])) | dict(zip(closed.jaxpr.constvars, closed.literals))
        for eqn in closed.jaxpr.eqns[::-1]:
            (value,) = [env[v] for v in eqn.outvars]
            env[eqn.invars[0]] = known[eqn.primitive](value)
        return env[closed.jaxpr.invars[0]]

    return wrapped


def evaluate(closed: Any, *args: Any) -> list[Any]:
    """Every equation, with ``bind``."""
    jaxpr = closed.jaxpr
    env = dict(zip(jaxpr.constvars, closed.consts)) | dict(zip(jaxpr.invars, args))

    def read(v: Any) -> Any:
        return v.val if isinstance(v, core.Literal) else env[v]

    for eqn in jaxpr.eqns:
        functions, params = eqn.primitive.get_bind_params(eqn.params)
        outs = eqn.primitive.bind(*functions, *map(read, eqn.invars), **params)
        env.update(zip(eqn.outvars, outs if eqn.primitive.multiple_results else [outs]))
    return [read(v) for v in jaxpr.outvars]


def test_interpreters_of_graphs_run() -> None:
    def f(x: Any) -> Any:
        return fnp.exp(fnp.tanh(x))

    g = fx.jit(fx.vmap(fx.grad(inverse(f))))
    np.testing.assert_allclose(inverse(f)(f(X)), X, rtol=1e-5)
    np.testing.assert_allclose(g(f(X)), 1 / fx.vmap(fx.grad(f))(X), rtol=1e-4)

    def loop(x: Any) -> Any:
        return lax.scan(lambda c, a: (c * a + X.sum(), c), x, X)[0]

    closed = fx.make_jaxpr(loop)(2.0)
    assert len(closed.jaxpr.constvars) == len(closed.consts) == 1
    for found in (
        evaluate(closed, 2.0),
        core.eval_jaxpr(closed.jaxpr, closed.consts, 2.0),
        core.jaxpr_as_fun(closed)(2.0),
    ):
        np.testing.assert_array_equal(found[0], loop(2.0))
    assert [len(j.eqns) > 0 for j in core.subjaxprs(closed.jaxpr)] == [True]
    np.testing.assert_array_equal(fx.grad(lambda x: evaluate(closed, x)[0])(2.0), fx.grad(loop)(2.0))


def test_types_of_values() -> None:
    a = core.ShapedArray((2, 3), fnp.float32)
    assert (
        isinstance(a, core.ShapedArray)
        and isinstance(fx.typeof(X), core.AbstractValue)
        and not isinstance(X, core.ShapedArray)
    )
    assert fx.eval_shape(lambda x: x.sum(0), a).shape == (3,) and core.get_aval(1.0).weak_type
    assert core.unmapped_aval(4, 1, core.mapped_aval(2, 0, a)).shape == (3, 4) and core.mapped_aval(2, None, a) is a
    assert core.valid_jaxtype(X) and not core.valid_jaxtype("text")


def test_what_is_being_traced() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(
            (core.trace_state_clean(), isinstance(x, core.Tracer), core.is_concrete(x), core.get_opaque_trace_state())
        )
        seen.append(core.get_opaque_trace_state() == seen[-1][-1])
        return x * 2

    before = core.get_opaque_trace_state()
    fx.jit(f)(1.0)
    assert seen[0][:3] == (False, True, False) and seen[0][3] != before and seen[1]
    assert core.trace_state_clean() and core.get_opaque_trace_state() == before
    assert core.concrete_or_error(int, 3.0) == 3
    with pytest.raises(ConcretizationError, match="for the size"):
        fx.jit(lambda x: core.concrete_or_error(None, x, "for the size"))(1.0)


def test_what_is_kept_for_the_backward_pass(capsys: pytest.CaptureFixture[str]) -> None:
    policies = fx.checkpoint_policies

    def f(x: Any, y: Any) -> Any:
        return fnp.sum(fnp.sin(fx.checkpoint_name(fnp.exp(x), "e")) * fx.checkpoint_name(fnp.cos(y), "c"))

    def kept(policy: Any) -> list[str]:
        print_saved_residuals(fx.checkpoint(f, policy=policy), X, X)
        return [line.split(" from ")[0] for line in capsys.readouterr().out.splitlines()]

    both = ["f32[3]", "f32[3]"]  # the arguments
    assert kept(None) == both
    assert kept(policies.save_only_these_names("e")) == [*both, "f32[3] named 'e'"]
    assert kept(policies.save_any_names_but_these("e")) == [*both, "f32[3] named 'c'"]
    named = policies.save_from_both_policies(policies.save_only_these_names("c"), policies.save_only_these_names("e"))
    assert sorted(kept(named)) == sorted([*both, "f32[3] named 'e'", "f32[3] named 'c'"])
    moved = policies.save_and_offload_only_these_names(
        names_which_can_be_saved=["e"], names_which_can_be_offloaded=["c"]
    )
    assert kept(moved) == kept(named)
    assert "f32[3] output of sin" in kept(policies.save_anything_except_these_names("e"))
    assert "f32[3] named 'e'" not in kept(policies.save_anything_except_these_names("e"))
    assert kept(policies.offload_dot_with_no_batch_dims("device", "pinned_host")) == both


def test_marks_for_a_profiler_name_scopes() -> None:
    with fx.profiler.StepTraceAnnotation("train", step_num=1), fx.profiler.TraceAnnotation("loss"):
        graph = str(fx.make_graph(fx.profiler.annotate_function(lambda x: fnp.sin(x), name="wave"))(1.0))
    assert "sin" in graph
    with pytest.raises(UnsupportedArgumentError, match=r"profile\(x\)"):
        fx.profiler.start_trace("/tmp/trace")


def test_linear_maps_show_what_they_map() -> None:
    """... not the whole of their graphs."""
    for made, kind in ((fx.vjp, "pullback"), (fx.linearize, "pushforward")):
        assert f"<{kind} of <lambda>: (f64[3]) -> (f64[])>" in repr(made(lambda x: (x**2).sum(), np.ones(3))[1])


def test_the_equations_of_what_make_jaxpr_returns_have_both_names() -> None:
    """``closed.eqns`` and ``closed.jaxpr.eqns`` are one list in JAX."""
    closed = fx.make_jaxpr(fx.jit(lambda x: fnp.sin(x) * 2))(1.0)
    (eqn,) = closed.eqns
    assert eqn.primitive is eqn.prim and eqn.primitive.name == "jit" and not closed.effects
    assert eqn.invars == list(eqn.inputs) == closed.jaxpr.invars and eqn.outvars == closed.jaxpr.outvars
    assert [e.primitive.name for e in eqn.params["jaxpr"].eqns] == ["sin", "mul"]
