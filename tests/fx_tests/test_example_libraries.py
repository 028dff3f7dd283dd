"""``fx.example_libraries``: the layers and optimizers of ``jax.example_libraries``, number for number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recorded import answers

import fx
import fx.numpy as fnp
from fx.errors import ShapeError, TreeError
from fx.example_libraries import optimizers, stax

RNG = np.random.default_rng(0)
KEY = np.array([0, 7], np.uint32)
IMAGES = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
PARAMS = {"a": RNG.normal(size=(3, 4)).astype(np.float32), "b": RNG.normal(size=(4,)).astype(np.float32)}


def close(got: Any, want: Any, rtol: float = 2e-5) -> None:
    got, want = [[np.asarray(x) for x in t] for t in (got, want)]
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


def network(s: Any) -> Any:
    branch = [s.serial(s.Flatten, s.Dense(5), f) for f in (s.Tanh, s.shape_dependent(lambda shape: s.Gelu))]
    return s.serial(
        s.Conv(4, (3, 3), padding="SAME"), s.BatchNorm(), s.Relu, s.MaxPool((2, 2), (2, 2)), s.ConvTranspose(3, (2, 2), strides=(2, 2)),
        s.AvgPool((2, 2), padding="SAME"), s.SumPool((2, 2)), s.BatchNorm(axis=(0, 1, 2), center=False), s.FanOut(2), s.parallel(*branch),
        s.FanInConcat(), s.Dropout(0.7), s.Identity, s.Dense(3), s.LogSoftmax,
    )  # fmt: skip


@pytest.fixture(scope="module")
def jax_network(update_golden: bool) -> dict[str, np.ndarray]:
    """The parameters of JAX 0.10.2's network, and what it makes of the images."""

    def compute() -> dict[str, Any]:
        jax = pytest.importorskip("jax")
        import jax.example_libraries.stax as theirs

        init, apply = network(theirs)
        with jax.enable_x64(False):
            key = jax.numpy.asarray(KEY)
            shape, params = init(key, IMAGES.shape)
            out = jax.jit(apply)(params, IMAGES, rng=key)
        leaves = {f"parameter {i}": x for i, x in enumerate(jax.tree.leaves(params))}
        return {"shape": np.array(shape), "out": out, **leaves}

    return answers("jax_stax", update_golden, compute)


def test_a_network_is_jax_s(jax_network: dict[str, np.ndarray]) -> None:
    init, apply = network(stax)
    shape, params = init(KEY, IMAGES.shape)
    assert shape == tuple(jax_network["shape"]) == (2, 3)
    leaves = fx.tree.leaves(params)
    close(leaves, [jax_network[f"parameter {i}"] for i in range(len(leaves))])
    assert f"parameter {len(leaves)}" not in jax_network
    close([apply(params, IMAGES, rng=KEY)], [jax_network["out"]], rtol=2e-4)


def test_layers_by_themselves() -> None:
    x = fnp.asarray(RNG.normal(size=(2, 5, 3)).astype(np.float32))
    for name in ("Exp", "Softplus", "Sigmoid", "Elu", "LeakyRelu", "Selu", "Softmax", "Identity"):
        init, apply = getattr(stax, name)
        assert init(KEY, x.shape) == (x.shape, ()) and apply((), x).shape == x.shape
    shape, params = stax.Conv1DTranspose(4, (3,))[0](KEY, x.shape)
    assert stax.Conv1DTranspose(4, (3,))[1](params, x).shape == shape
    np.testing.assert_allclose(stax.FanInSum[1]((), [x, x]), 2 * np.asarray(x))
    np.testing.assert_array_equal(stax.Dropout(0.5, mode="test")[1]((), x, rng=KEY), x)
    by_channel = stax.MaxPool((2, 2), spec="NCHW")
    assert by_channel[0](KEY, (2, 3, 8, 8))[0] == by_channel[1]((), fnp.ones((2, 3, 8, 8))).shape == (2, 3, 7, 7)
    with pytest.raises(ValueError, match=r"fx\.random\.key"):
        stax.Dropout(0.5)[1]((), x)


OPTIMIZERS = {
    "sgd": (0.1,), "momentum": (0.1, 0.9), "nesterov": (0.1, 0.9), "adagrad": (0.1,), "rmsprop": (0.1,), "rmsprop_momentum": (0.1,),
    "adam": (0.1,), "adamax": (0.1,), "sm3": (0.1,),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_jax_s(name: str) -> None:
    jax = pytest.importorskip("jax")
    import jax.example_libraries.optimizers as theirs

    found = []
    for space, tree in ((optimizers, fx.tree), (theirs, jax.tree)):
        init, update, get_params = getattr(space, name)(*OPTIMIZERS[name])
        state = init(PARAMS)
        for i in range(3):
            state = update(i, tree.map(lambda p: 2 * p + 1, get_params(state)), state)
        if name != "sm3":  # of which JAX keeps a shape among the leaves
            state = space.pack_optimizer_state(space.unpack_optimizer_state(state))
        found.append(tree.leaves(get_params(state)))
    close(*found)


SCHEDULES: list[tuple[str, tuple[Any, ...]]] = [
    ("constant", (0.1,)), ("exponential_decay", (0.1, 10, 0.5)), ("inverse_time_decay", (0.1, 10, 0.5)), ("inverse_time_decay", (0.1, 10, 0.5, True)),
    ("polynomial_decay", (0.1, 10, 0.01, 2.0)), ("piecewise_constant", ([2, 5], [1.0, 0.5, 0.1])),
]  # fmt: skip


def test_schedules_and_clipping_are_jax_s() -> None:
    pytest.importorskip("jax")
    import jax.example_libraries.optimizers as theirs

    for name, arguments in SCHEDULES:
        ours, want = getattr(optimizers, name)(*arguments), getattr(theirs, name)(*arguments)
        for i in (0, 3, 7, 20):
            np.testing.assert_allclose(ours(i), want(i), rtol=1e-6)
    for norm in (0.5, 100.0):
        got, want = optimizers.clip_grads(PARAMS, norm), theirs.clip_grads(PARAMS, norm)
        close(fx.tree.leaves(got), [want["a"], want["b"]])


def test_a_step_compiles_and_sm3_takes_scalars() -> None:
    init, update, get_params = optimizers.adam(optimizers.exponential_decay(0.1, 10, 0.9))
    compiled = fx.jit(update)(0, PARAMS, init(PARAMS))
    close(fx.tree.leaves(get_params(compiled)), fx.tree.leaves(get_params(update(0, PARAMS, init(PARAMS)))))
    init, update, get_params = optimizers.sm3(0.1)
    assert get_params(update(0, np.float32(2), init(np.float32(1)))).shape == ()


def test_errors_say_what_to_do() -> None:
    init, update, _ = optimizers.sgd(0.1)
    with pytest.raises(TreeError, match="gradients"):
        update(0, {"a": 1.0}, init(PARAMS))
    with pytest.raises(TypeError, match="step size"):
        optimizers.sgd(np.ones(2))
    with pytest.raises(ShapeError, match="one value more"):
        optimizers.piecewise_constant([1, 2], [0.1, 0.2])
    with pytest.raises(TreeError, match="unpack_optimizer_state"):
        optimizers.pack_optimizer_state(PARAMS)
