"""``fx.optim``: fifty steps of every optimizer are optax's fifty steps."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import answers

import fx
import fx.numpy as fnp
from fx import optim, tree
from fx.errors import TreeError

START = {
    "w": np.random.RandomState(0).normal(size=(4, 3)).astype(np.float32),
    "b": [np.random.RandomState(1).normal(size=5).astype(np.float32)],
}
SLOPES = np.random.RandomState(2).normal(size=(4, 3)).astype(np.float32)
MASK = {"w": True, "b": [False]}


def decaying(count):
    return 0.1 / (1 + count)


OPTIMIZERS = {
    "sgd": lambda o: o.sgd(0.01),
    "momentum": lambda o: o.sgd(0.01, 0.9),
    "nesterov": lambda o: o.sgd(0.01, 0.9, True),
    "adam": lambda o: o.adam(0.01),
    "adam nesterov": lambda o: o.adam(0.01, nesterov=True),
    "adam eps_root": lambda o: o.adam(0.01, 0.8, 0.99, 1e-6, 1e-5),
    "adamw": lambda o: o.adamw(0.01, weight_decay=0.1),
    "adamw masked": lambda o: o.adamw(0.01, weight_decay=0.1, mask=MASK),
    "schedule": lambda o: o.sgd(decaying, 0.5),
    "adam schedule": lambda o: o.adam(decaying),
    "chain": lambda o: o.chain(o.scale(2.0), o.trace(0.5), o.identity(), o.scale_by_learning_rate(0.01)),
}


def objective(np_, p):
    return np_.sum(np_.sin(p["w"] * SLOPES) ** 2) + np_.sum((p["b"][0] - 1) ** 4)


@pytest.fixture(scope="module")
def optax_answers(request):
    """The parameters after fifty steps of optax 0.2.8 in float32."""

    def compute():
        optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
        found = {}
        with jax.enable_x64(False):
            gradient = jax.jit(jax.grad(lambda p: objective(jax.numpy, p)))
            for name, make in OPTIMIZERS.items():
                optimizer, params = make(optax), START
                state = optimizer.init(params)
                for _ in range(50):
                    updates, state = optimizer.update(gradient(params), state, params)
                    params = optax.apply_updates(params, updates)
                found[f"{name} w"], found[f"{name} b"] = params["w"], params["b"][0]
        return found

    return answers("optax", request.config.getoption("--update-golden"), compute)


def steps(optimizer, params, backend="reference", count=50):
    @fx.jit(backend=backend)
    def step(params, state):
        gradient = fx.grad(lambda p: objective(fnp, p))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optim.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(count):
        params, state = step(params, state)
    assert step.cache_info().traced == 1
    return params


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_are_optax_s(optax_answers, name):
    params = steps(OPTIMIZERS[name](optim), START)
    for got, key in ((params["w"], "w"), (params["b"][0], "b")):
        np.testing.assert_allclose(np.asarray(got), optax_answers[f"{name} {key}"], rtol=1e-5, atol=1e-6)


def test_compiled_steps_are_the_same():
    params, want = steps(optim.adamw(0.01), START, "native"), steps(optim.adamw(0.01), START)
    for g, w in zip(tree.leaves(params), tree.leaves(want)):
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=1e-5, atol=1e-6)


def test_a_wrong_decay_is_noticed(optax_answers):
    params = steps(optim.adam(0.01, b2=0.998), START)
    assert np.abs(np.asarray(params["w"]) - optax_answers["adam w"]).max() > 1e-5


def test_parameters_keep_their_dtypes():
    params = {"half": np.ones(3, np.float16), "double": np.ones(2), "complex": np.ones(2, np.complex64)}
    gradient = tree.map(fnp.ones_like, params)
    for optimizer in (optim.sgd(0.1, 0.9), optim.adam(0.1), optim.adamw(0.1)):
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(gradient, state, params)
            params = optim.apply_updates(params, updates)
        assert {k: str(v.dtype) for k, v in params.items()} == {
            "half": "float16",
            "double": "float64",
            "complex": "complex64",
        }
        assert all(np.isfinite(np.asarray(v)).all() for v in params.values())


def test_a_mask_may_be_a_function():
    decay = optim.add_decayed_weights(0.5, lambda params: tree.map(lambda p: p.ndim > 1, params))
    params = {"w": fnp.ones((2, 2)), "b": fnp.ones(2)}
    updates, _ = decay.update(tree.map(fnp.zeros_like, params), decay.init(params), params)
    assert (float(updates["w"].sum()), float(updates["b"].sum())) == (2.0, 0.0)


def test_errors_say_what_to_do():
    decay = optim.adamw(0.1)
    state = decay.init(START)
    with pytest.raises(TreeError, match="optimizer.update\\(gradient, state, params\\)"):
        decay.update(START, state)
    with pytest.raises(TreeError, match="state that its init"):
        optim.adam(0.1).update(START, state, START)
