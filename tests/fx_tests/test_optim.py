"""``fx.optim``: fifty steps of every optimizer are optax's fifty steps, under jit and in a scan."""

from __future__ import annotations

import numpy as np
import pytest
from narrowing import narrow_steps
from optim_cases import (
    BROKEN_OPTIMIZERS,
    DOUBLE,
    OPTIMIZERS,
    ROUNDED_BY_OPTAX,
    SCHEDULES,
    SEEN,
    SENSITIVE,
    SLOPES,
    START,
    STEPS,
    all_cases,
    optax_answers,
    optax_double_answers,
    start,
    trajectory,
)
from recorded import answers

import fx
import fx.numpy as fnp
from fx import lax, misnamed, optim, random, tree
from fx.errors import ShapeError, TreeError


@pytest.fixture(scope="module")
def optax(request):
    """The parameters after each step of optax 0.2.8, and its schedules."""
    return answers("optax", request.config.getoption("--update-golden"), optax_answers)


@pytest.fixture(scope="module")
def optax_double(request):
    """The same of some steps in float64."""
    return answers("optax_double", request.config.getoption("--update-golden"), optax_double_answers)


def program_of(name, dtype, make=None):
    """From a start to the parameters after each step of a case."""
    given, factors = all_cases()[name]
    return trajectory(fnp, optim, (make or given)(optim), lax.scan, fx.value_and_grad, factors.astype(dtype))


def path_of(name, backend="reference", make=None, dtype=None):
    """The parameters after each step of a case, in one compiled scan."""
    dtype = dtype or (np.float64 if name in DOUBLE else np.float32)
    return np.asarray(fx.jit(program_of(name, dtype, make), backend=backend)(start(optim, name, dtype)))


@pytest.mark.parametrize("name", [*OPTIMIZERS, *BROKEN_OPTIMIZERS])
def test_every_step_is_optax_s(optax, name):
    got, tolerance = path_of(name), 1e-6 if name in DOUBLE else 1e-5
    assert got.shape == (STEPS, 9) and got.dtype == optax[name].dtype
    np.testing.assert_allclose(got, optax[name], rtol=tolerance, atol=tolerance / 5)


@pytest.mark.parametrize("name", [*OPTIMIZERS, *BROKEN_OPTIMIZERS])
def test_steps_of_64_bits_are_optax_s_and_compute_in_no_fewer(optax_double, name):
    tolerance = 1e-6 if name in ROUNDED_BY_OPTAX else 1e-7 if name in SENSITIVE else 1e-12
    got = path_of(name, dtype=np.float64)[SEEN]
    np.testing.assert_allclose(got, optax_double[name], rtol=tolerance, atol=tolerance / 10)
    assert narrow_steps(program_of(name, np.float64), start(optim, name, np.float64)) == []


@pytest.mark.parametrize("name", ["adamw masked", "adafactor factored", "zoom"])
def test_native_steps_are_the_same(optax, name):
    np.testing.assert_allclose(path_of(name, "native"), optax[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rprop_is_pytorch_s(dtype):
    torch = pytest.importorskip("torch")
    slopes = np.random.RandomState(3).normal(size=(20, 6)).astype(dtype)
    slopes[3, 1] = 0
    p, optimizer = np.linspace(-1, 1, 6).astype(dtype), optim.rprop(0.1, 0.4, 1.3, 0.05, 0.3)
    theirs = torch.tensor(p.copy(), requires_grad=True)
    step = torch.optim.Rprop([theirs], 0.1, (0.4, 1.3), (0.05, 0.3))
    state, update = optimizer.init(p), fx.jit(optimizer.update)
    for slope in slopes:
        theirs.grad = torch.tensor(slope)
        step.step()
        updates, state = update(slope, state, p)
        p = optim.apply_updates(p, updates)
        np.testing.assert_allclose(p, theirs.detach(), rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert p.dtype == dtype


WRONG = {
    "adam": lambda o: o.adam(0.01, b2=0.998),
    "nadam": lambda o: o.adam(0.01),
    "rmsprop": lambda o: o.rmsprop(0.01, eps_in_sqrt=False, eps=1e-4),
    "clip by norm": lambda o: o.chain(o.clip_by_global_norm(1.001), o.sgd(0.05)),
    "zoom": lambda o: o.chain(o.sgd(0.5), o.scale_by_zoom_linesearch(15, curv_rtol=0.5, max_learning_rate=1.5)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_small_mistake_is_noticed(optax, name):
    assert np.abs(path_of(name, make=WRONG[name]) - optax[name]).max() > 1e-4


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_optax_s(optax, name):
    schedule, counts = SCHEDULES[name](optim), np.arange(60, dtype=np.int32)
    want = optax[f"schedule {name}"].astype(np.float32)
    compiled = fx.jit(fx.vmap(lambda t: fnp.asarray(schedule(t)) + 0 * t.astype("float32")), backend="reference")(
        counts
    )
    np.testing.assert_allclose(np.asarray(compiled), want, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose([float(schedule(t)) for t in (0, 7, 59)], want[[0, 7, 59]], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_keep_64_bits_and_leave_other_dtypes_as_they_are(optax_double, name):
    """Alone they are as exact as Python's numbers; beside an array they have its dtype, as these have."""
    schedule, counts = SCHEDULES[name](optim), np.arange(60, dtype=np.int32)
    want = optax_double[f"schedule {name}"]
    np.testing.assert_allclose([float(schedule(t)) for t in counts], want, rtol=1e-13, atol=1e-15)
    for dtype in ("bfloat16", "float32", "float64"):
        scaled = fx.jit(lambda t, x: schedule(t) * x, backend="reference")(counts[7], fnp.ones(2, dtype))
        assert scaled.dtype == dtype and (schedule(counts[7]) * fnp.ones(2, dtype)).dtype == dtype
        np.testing.assert_array_equal(scaled, fnp.full(2, fnp.asarray(float(schedule(counts[7])), dtype)))
    assert narrow_steps(lambda t, x: schedule(t) * x, counts[7], np.ones(2)) == []


def test_a_rate_of_one_s_own_is_as_exact_as_the_updates():
    rate = lambda step: 0.1 / (1 + step)
    for optimizer in (optim.sgd(rate), optim.inject_hyperparams(optim.sgd)(learning_rate=rate)):
        for dtype in ("float32", "float64"):
            x = fnp.ones(1, dtype)
            state = optimizer.init(x)
            for _ in range(3):
                updates, state = optimizer.update(x, state, x)
            assert updates.dtype == dtype and float(updates[0]) == -fnp.asarray(0.1 / 3, dtype)


def test_the_recorded_answers_are_those_of_the_optax_that_is_installed(optax):
    theirs, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    optimizer, params = theirs.adamw(0.01, weight_decay=0.1), start(theirs, "adamw")
    with jax.enable_x64(False):
        state = optimizer.init(params)
        for step in range(2):
            w, b = np.asarray(params["w"]), np.asarray(params["b"][0])
            gradient = {"w": SLOPES * np.sin(2 * w * SLOPES), "b": [4 * (b - 1) ** 3]}
            updates, state = optimizer.update(gradient, state, params)
            params = theirs.apply_updates(params, updates)
            got = np.concatenate([np.ravel(params["w"]), params["b"][0]])
            np.testing.assert_allclose(got, optax["adamw"][step], rtol=1e-5)


# ----------------------------------------------------------------------------- what optax has not


def first_update(transformation, gradient, params):
    return transformation.update(gradient, transformation.init(params), params)[0]


def test_penalties_are_gradients():
    p = {"w": fnp.asarray(START["w"]), "b": [fnp.asarray(START["b"][0])]}
    zero = tree.map(fnp.zeros_like, p)
    for penalty, loss in (
        (optim.add_l1_penalty(0.3), lambda p: 0.3 * sum(fnp.sum(fnp.abs(x)) for x in tree.leaves(p))),
        (optim.add_l2_penalty(0.3), lambda p: 0.15 * sum(fnp.sum(x**2) for x in tree.leaves(p))),
    ):
        for got, want in zip(tree.leaves(first_update(penalty, zero, p)), tree.leaves(fx.grad(loss)(p))):
            np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-6)
    only_w = first_update(optim.add_l1_penalty(1.0, {"w": True, "b": False}), zero, p)
    assert fnp.abs(only_w["w"]).sum() == 6 and fnp.abs(only_w["b"][0]).sum() == 0


@pytest.mark.parametrize("debias", [True, False])
def test_averaged_weights_are_the_mean_of_the_weights(debias):
    optimizer = optim.chain(optim.sgd(0.1), optim.weight_ema(0.8, debias))
    params = fnp.asarray([1.0, -2.0])
    state, path = optimizer.init(params), [params]
    for step in range(6):
        updates, state = optimizer.update(fnp.ones(2) * step, state, params)
        params = optim.apply_updates(params, updates)
        path.append(params)
    weights = 0.2 * 0.8 ** np.arange(6)[::-1]
    weights = np.r_[0, weights / weights.sum()] if debias else np.r_[0.8**6, weights]
    want = weights @ np.array([np.asarray(p) for p in path])
    np.testing.assert_allclose(np.asarray(optim.averaged_weights(state)), want, rtol=1e-6)


@pytest.mark.parametrize("reset", [False, True])
def test_slow_weights_in_the_state_are_those_beside_the_fast_ones(reset):
    """Parameters given alone, as a trainer gives them, go the way of optax's pairs."""
    optimizer = optim.lookahead(optim.sgd(0.1, 0.9), 3, 0.4, reset)
    start = fnp.asarray([1.0, -2.0])
    pair, alone = optim.LookaheadParams.init_synced(start), start
    states = optimizer.init(pair), optimizer.init(alone)
    for step in range(8):
        updates, first = optimizer.update(2 * pair.fast, states[0], pair)
        pair = optim.apply_updates(pair, updates)
        updates, second = fx.jit(optimizer.update, backend="reference")(2 * alone, states[1], alone)
        alone, states = optim.apply_updates(alone, updates), (first, second)
        np.testing.assert_allclose(alone, pair.fast, rtol=1e-6)
        np.testing.assert_allclose(optim.slow_weights(second), pair.slow, rtol=1e-6)
        assert (step % 3 == 2) == np.allclose(alone, optim.slow_weights(second))
    with pytest.raises(TreeError, match="of the kind that init was given"):
        optimizer.update(start, states[0], start)


def test_clipped_gradients_of_examples_are_summed():
    grads = {"w": np.array([[3.0, 0.0], [0.3, 0.0], [0.0, 0.0]]), "b": np.array([4.0, 0.4, 0.0])}
    total, clipped = optim.per_example_global_norm_clip(grads, 1.0)
    np.testing.assert_allclose(np.asarray(total["w"]), [0.9, 0.0], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(total["b"]), 1.2, rtol=1e-6)
    assert int(clipped) == 1


def test_hyperparameters_can_be_read_and_replaced():
    optimizer = optim.inject_hyperparams(optim.sgd)(learning_rate=0.5)
    state = optimizer.init(fnp.zeros(1))
    state = state._replace(hyperparams={**state.hyperparams, "learning_rate": fnp.asarray(0.25, "float32")})
    updates, state = fx.jit(optimizer.update, backend="reference")(fnp.ones(1), state)
    assert float(updates[0]) == -0.25 and float(optim.tree_get(state, "learning_rate")) == 0.25
    assert optim.tree_get(state, "nothing", 3) == 3
    with pytest.raises(TreeError, match="several places"):
        optim.tree_get(optim.chain(optim.adam(0.1), optim.adam(0.1)).init(fnp.zeros(1)), "mu")


def test_parts_carry_names():
    optimizer = optim.named_chain(("clip", optim.clip(1.0)), ("step", optim.adam(0.1)))
    state = optimizer.init(fnp.zeros(2))
    assert sorted(state) == ["clip", "step"]
    _, state = optimizer.update(fnp.ones(2), state)
    assert int(optim.tree_get(state, "count")) == 1


# ------------------------------------------------------------------------------------- dtypes, masks


KEEPING = {
    **{
        name: OPTIMIZERS[name]
        for name in ("momentum", "adamw", "rmsprop", "adagrad", "adadelta", "lamb", "clip by norm")
    },
    "accumulated": lambda o: o.MultiSteps(o.adam(0.1), 2).gradient_transformation(),
    "finite": lambda o: o.apply_if_finite(o.sgd(0.1), 2),
    "average": lambda o: o.chain(o.sgd(0.1), o.weight_ema(0.9)),
}


@pytest.mark.parametrize("name", KEEPING)
def test_parameters_and_states_keep_their_dtypes(name):
    params = {"half": np.ones(3, np.float16), "double": np.ones(2), "complex": np.ones(2, np.complex64)}
    optimizer, gradient = KEEPING[name](optim), tree.map(fnp.ones_like, params)
    state = first = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(gradient, state, params)
        params = optim.apply_updates(params, updates)
    kinds = lambda t: [str(fnp.asarray(x).dtype) for x in tree.leaves(t)]
    assert kinds(params) == ["complex64", "float64", "float16"] and kinds(state) == kinds(first)
    assert all(np.isfinite(np.asarray(v)).all() for v in params.values())


def test_masks_may_be_functions_and_prefixes():
    params = {"w": fnp.ones((2, 2)), "b": [fnp.ones(2), fnp.ones(1)]}
    zero = tree.map(fnp.zeros_like, params)
    matrices = optim.add_decayed_weights(0.5, lambda params: tree.map(lambda p: p.ndim > 1, params))
    vectors = optim.add_decayed_weights(0.5, {"w": False, "b": True})
    sums = lambda t: [float(x.sum()) for x in tree.leaves(t)]
    assert sums(first_update(matrices, zero, params)) == [0.0, 0.0, 2.0]
    assert sums(first_update(vectors, zero, params)) == [1.0, 0.5, 0.0]


def test_muon_takes_kernels_with_their_axes():
    kernel = {"conv": fnp.asarray(np.random.RandomState(0).normal(size=(3, 3, 4, 8)).astype("f4")), "b": fnp.zeros(8)}
    numbers = {"conv": optim.MuonDimensionNumbers((0, 1, 2), 3), "b": None}
    optimizer = optim.muon(1.0, ns_steps=8, beta=0.0, muon_weight_dimension_numbers=numbers)
    step = np.asarray(first_update(optimizer, kernel, kernel)["conv"]).reshape(36, 8)
    assert 0.6 < np.linalg.svd(step)[1].min() and np.linalg.svd(step)[1].max() < 1.3


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: optim.adamw(0.1).update(START, optim.adamw(0.1).init(START)), TreeError, "update.gradient, state, params"),
        (lambda: optim.masked(optim.sgd(0.1), {"a": True}).init(START), TreeError, "parameters under the optimizer's mask: a dict with"),
        (lambda: optim.adam(0.1).update(START, START, START), TreeError, "chain keeps 2 states"),
        (lambda: optim.lbfgs().update(START, optim.lbfgs().init(START), START), TreeError, "value_fn=objective"),
        (lambda: optim.partition({"a": optim.sgd(1.0)}, {"w": "a", "b": ["c"]}).init(START), TreeError, "labels \\['c'\\]"),
        (lambda: optim.reduce_on_plateau(factor=2.0), TreeError, "between 0 and 1"),
        (lambda: optim.reduce_on_plateau().update(START, optim.reduce_on_plateau().init(START)), TreeError, "value=loss"),
        (lambda: optim.cosine_decay_schedule(1.0, 0), TreeError, "positive number of steps"),
        (lambda: optim.piecewise_constant_schedule(1.0, {3: -1.0}), TreeError, "not negative"),
        (lambda: optim.MultiSteps(optim.sgd(1.0), 0), TreeError, "at least one"),
        (lambda: optim.lookahead(optim.sgd(1.0), 0, 0.5), TreeError, "at least 1"),
        (lambda: optim.inject_hyperparams(optim.sgd, "rate"), TreeError, "'rate'"),
        (lambda: optim.scale_by_lion(mode="soft"), TreeError, "'soft'"),
        (lambda: optim.muon(0.1, "none"), TreeError, "'none'"),
        (lambda: optim.averaged_weights(()), TreeError, "found 0"),
        (lambda: optim.unitwise_norm(fnp.ones((2,) * 6)), ShapeError, "pass axis="),
        (lambda: optim.per_example_global_norm_clip([fnp.ones(())], 1.0), ShapeError, "first axis of examples"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_noise_needs_no_state_of_its_own_outside():
    noisy = optim.add_noise(1.0, 0.0, random.key(0))
    g = fnp.zeros(1000)
    a, state = noisy.update(g, noisy.init(g))
    b, _ = noisy.update(g, state)
    assert 0.9 < float(a.std()) < 1.1 and abs(float((a * b).mean())) < 0.1


@pytest.mark.parametrize("rate", ["0.1", [0.1, 0.2], {"lr": 0.1}])
def test_a_learning_rate_that_is_no_number_is_named(rate):
    with pytest.raises(ValueError, match="a learning rate is a number, or a schedule"):
        optim.adam(rate)


def test_gathered_gradients_of_complex_parameters_keep_their_imaginary_part():
    optimizer = optim.MultiSteps(optim.sgd(1.0), 2)
    params = {"z": np.zeros(2, np.complex64)}
    state = optimizer.init(params)
    for part in (1 + 2j, 3 - 6j):
        updates, state = optimizer.update({"z": np.full(2, part, np.complex64)}, state, params)
    np.testing.assert_array_equal(updates["z"], np.full(2, -2 + 2j, np.complex64))


def test_gathered_gradients_are_as_exact_as_they_came():
    """None: the dtype of the parameters, but float32 for narrower ones; what is asked for is done."""
    for dtype, asked, want in (("float64", None, "float64"), ("bfloat16", None, "float32"), ("float64", "float32", "float32")):  # fmt: skip
        optimizer = optim.MultiSteps(optim.sgd(1.0), 3, accumulator_dtype=asked)
        params = {"w": fnp.zeros(2, dtype)}
        state = optimizer.init(params)
        assert state.acc_grads["w"].dtype == want
        for _ in range(3):
            updates, state = optimizer.update({"w": fnp.full(2, 1 / 3, dtype)}, state, params)
        assert updates["w"].dtype == dtype and state.acc_grads["w"].dtype == want
        if (dtype, asked) == ("float64", None):
            np.testing.assert_array_equal(updates["w"], np.full(2, -1 / 3))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: optim.adam(lr=0.1), "adam takes no argument 'lr'. Here it is called learning_rate. It takes learning_rate, b1, b2, eps"),
        (lambda: optim.nadam(lr=0.1), "called learning_rate"),
        (lambda: optim.adam(0.1, betas=(0.9, 0.99)), "b1=0.9, b2=0.999"),
        (lambda: optim.sgd(0.1, weight_decay=1e-4), "optim.add_decayed_weights(1e-4)"),
        (lambda: optim.adam(0.1, none_such=1), "'none_such'. It takes"),
        (lambda: optim.inject_hyperparams(optim.adam)(lr=0.1), "called learning_rate"),
        (lambda: optim.cosine_decay_schedule(0.1, T_max=10), "called decay_steps"),
        (lambda: optim.cosine_decay_schedule(0.1, 10, eta_min=0.1), "called alpha"),
        (lambda: optim.warmup_cosine_decay_schedule(0.0, 1.0, 10, 20, eta_min=0.1), "called end_value"),
        (lambda: optim.adam(), "missing 1 required positional argument: 'learning_rate'"),
        (lambda: optim.SGD, "has no attribute 'SGD'. It is optim.sgd."),
        (lambda: optim.StepLR, "staircase=True"),
        (lambda: optim.LinearLR, "in place of the learning rate: optim.adam(optim.linear_schedule"),
        (lambda: optim.softmax_cross_entropy, "It is nn.cross_entropy."),
        (lambda: optim.contrib, "optax runs on fx"),
        (lambda: optim.none_such, "has no attribute 'none_such'"),
    ],
)  # fmt: skip
def test_names_of_other_libraries_are_told(wrong, says):
    with pytest.raises((TypeError, AttributeError)) as caught:
        wrong()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "optimizer, other, says",
    [
        (optim.adam(0.1), optim.sgd(0.1), r"part 0 of a chain keeps ScaleByAdamState\(count, mu, nu\); found EmptyState\(\)"),
        (optim.sgd(0.1), optim.adam(0.1), r"part 0 of a chain keeps EmptyState\(\); found ScaleByAdamState"),
        (optim.chain(optim.scale_by_rms()), optim.chain(optim.scale_by_adam()), r"keeps ScaleByRmsState\(nu\); found ScaleByAdamState"),
        (optim.adam(0.1), optim.adamw(0.1), "chain keeps 2 states, .*; found tuple of 3 .ScaleByAdamState.count, mu, nu., EmptyState"),
        (optim.MultiSteps(optim.adam(0.1), 2), optim.adam(0.1), "MultiSteps keeps MultiStepsState.mini_step.*; found tuple of 2"),
        (optim.masked(optim.adam(0.1), True), optim.adam(0.1), r"masked keeps MaskedState\(inner_state\); found tuple of 2"),
        (optim.partition({1: optim.adam(0.1)}, 1), optim.adam(0.1), "partition keeps PartitionState"),
        (optim.inject_hyperparams(optim.adam)(0.1), optim.adam(0.1), "inject_hyperparams keeps InjectHyperparamsState"),
        (optim.apply_if_finite(optim.adam(0.1), 2), optim.adam(0.1), "apply_if_finite keeps ApplyIfFiniteState"),
        (optim.adam(0.1), optim.inject_hyperparams(optim.adam)(0.1), "chain keeps 2 states, .*; found InjectHyperparamsState"),
        (optim.named_chain(("a", optim.adam(0.1))), optim.named_chain(("a", optim.sgd(0.1))), "'a' of a named_chain: part 0|part 0 of a chain"),
    ],
)  # fmt: skip
def test_the_state_of_another_optimizer_is_told(optimizer, other, says):
    x = fnp.ones(3)
    for update in (optimizer.update, fx.jit(optimizer.update)):
        with pytest.raises(TreeError, match=says) as caught:
            update(x, other.init(x), x)
        (note,) = caught.value.__notes__
        assert "of the same optimizer" in note


def test_an_error_inside_of_an_optimizer_is_its_own():
    def factory(rate):
        return optim.adam(rate)

    with pytest.raises(TypeError, match=r"factory\(\) got an unexpected keyword argument 'b1'"):
        misnamed.explained({"b1": "rate"})(lambda **kwargs: factory(**kwargs))(b1=1)


@pytest.mark.parametrize("call", ["adam", "chained"])
def test_trees_that_do_not_fit_are_told_as_gradient_and_parameters(call):
    optimizer = optim.adam(0.1) if call == "adam" else optim.chain(optim.clip(1.0), optim.adam(0.1))
    for gradient in ({"b": fnp.zeros(3)}, {"a": fnp.zeros(4)}):
        with pytest.raises((TreeError, ShapeError)) as caught:
            optimizer.update(gradient, optimizer.init({"a": fnp.zeros(3)}), {"a": fnp.zeros(3)})
        (note,) = caught.value.__notes__
        assert "a gradient of ['" in note and "parameters of ['a'] [3]" in note and "optimizer.init(params)" in note


@pytest.mark.parametrize(
    ("updates", "says"),
    [({"v": fnp.zeros(3)}, "('w',) expected"), ({"w": fnp.zeros(1)}, "params['w'], of shape (3,), has shape (1,)")],
)
def test_updates_that_do_not_fit_their_parameters_are_told(updates, says):
    with pytest.raises((TreeError, ShapeError)) as caught:
        optim.apply_updates({"w": fnp.zeros(3)}, updates)
    assert says in str(caught.value) and "parameters of ['w'] [3] and updates of" in caught.value.__notes__[0]


def test_what_is_no_optimizer_or_rate_is_named():
    with pytest.raises(ValueError, match="found <function sgd.*call it first"):
        optim.chain(optim.clip(1.0), optim.sgd)
    with pytest.raises(ValueError, match=r"found \[Array.*given to init"):
        optim.adam([fnp.ones(2)])
    with pytest.raises(TreeError, match="decay_steps counts the steps up too"):
        optim.warmup_cosine_decay_schedule(0.0, 1.0, 100, 50)
