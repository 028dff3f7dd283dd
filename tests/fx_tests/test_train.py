"""The step and the loop: laws of accumulation, clipping, precision and the guard; what is said about bad input."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import data, nn, optim, random, train, tree
from fx.errors import DTypeError, NaNError, ShapeError, TrainingError, TreeError
from fx.train.guard import explain_not_finite

RNG = np.random.RandomState(0)
X = RNG.normal(size=(12, 5)).astype(np.float32)
Y = RNG.normal(size=12).astype(np.float32)
MODEL = {"w": RNG.normal(size=(5, 4)).astype(np.float32), "v": RNG.normal(size=4).astype(np.float32)}
BATCH = (X, Y)


def loss(model, batch, key):
    x, y = batch
    return fnp.mean((fnp.tanh(x @ model["w"]) @ model["v"] - y) ** 2)


def one_step(optimizer=None, function=loss, batch=BATCH, **options):
    optimizer = optimizer or optim.sgd(1.0)
    precision = options.get("precision")
    precision = train.Precision(precision) if isinstance(precision, str) else precision
    start = train.init_state(MODEL, optimizer, 3, trainable=options.get("trainable"), precision=precision)
    return train.make_step(function, optimizer, **options)(start, batch)


def moved(state):
    """How far each parameter went."""
    return {name: np.asarray(state.model[name]) - MODEL[name] for name in MODEL}


GRADIENT = {name: np.asarray(g) for name, g in fx.grad(loss)(tree.map(fnp.asarray, MODEL), BATCH, None).items()}
NORM = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in GRADIENT.values()))


# ------------------------------------------------------------------------------------------- the step


def test_a_step_is_the_ten_lines_by_hand():
    optimizer = optim.adam(0.1)

    @fx.jit
    def by_hand(model, state):
        value, gradient = fx.value_and_grad(loss)(model, BATCH, None)
        updates, state = optimizer.update(gradient, state, model)
        return optim.apply_updates(model, updates), value

    model, value = by_hand(MODEL, optimizer.init(tree.map(fnp.asarray, MODEL)))
    state, info = one_step(optimizer)
    for name in MODEL:
        np.testing.assert_allclose(state.model[name], model[name], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(info["loss"], value, rtol=1e-6)
    np.testing.assert_allclose(info["gradient_norm"], NORM, rtol=1e-5)
    assert bool(info["finite"]) and int(state.step) == 1


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts):
    state, info = one_step(accumulate=parts)
    for name, way in moved(state).items():
        np.testing.assert_allclose(way, -GRADIENT[name], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(info["loss"], loss(MODEL, BATCH, None), rtol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.5, 3.0])
def test_clipping_shortens_the_gradient_and_keeps_its_direction(share):
    state, _ = one_step(clip=share * NORM)
    for name, way in moved(state).items():
        np.testing.assert_allclose(way, -GRADIENT[name] * min(share, 1.0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bfloat16"},
        {"precision": train.Precision("float16", 64.0)},
        {"precision": train.Precision("float16", 8.0, False)},
    ],
)
def test_half_precision_computes_nearly_the_same_and_keeps_parameters(options):
    seen, mode = [], options["precision"]
    half = fnp.dtype(mode if isinstance(mode, str) else mode.compute)

    def watched(model, batch, key):
        seen.append((model["w"].dtype, batch[0].dtype, batch[1].dtype))
        return loss(model, batch, key)

    state, info = one_step(function=watched, **options)
    assert seen[0] == (half, half, half)
    assert {x.dtype for x in state.model.values()} == {np.dtype("float32")} and info["loss"].dtype == np.float32
    for name, way in moved(state).items():
        np.testing.assert_allclose(way, -GRADIENT[name], rtol=0.1, atol=0.03)


def test_the_loss_scale_falls_on_overflow_and_grows_when_it_holds():
    mode = train.Precision("float16", scale=2.0**15, interval=2)
    optimizer = optim.adam(0.1)
    step = train.make_step(lambda m, b, key: fnp.sum(m["v"] * b), optimizer, precision=mode)
    state = train.init_state(MODEL, optimizer, precision=mode)
    small, large = np.full(4, 0.25, np.float32), np.full(4, 60.0, np.float32)  # 60 * 2**15 is beyond float16
    scales, moves = [], []
    for batch in (small, large, large, small, small, small):
        before = np.asarray(state.model["v"]).copy(), int(state.optimizer[0].count)
        state, info = step(state, batch)
        moves.append((not np.array_equal(before[0], state.model["v"]), int(state.optimizer[0].count) - before[1]))
        scales.append(float(state.scale.scale))
    assert scales == [2.0**15, 2.0**14, 2.0**13, 2.0**13, 2.0**14, 2.0**14]
    assert moves == [(True, 1), (False, 0), (False, 0), (True, 1), (True, 1), (True, 1)]


def test_optimizers_that_ask_for_the_loss_are_given_it():
    x, y = X[:8].astype(np.float64), Y[:8].astype(np.float64)
    squares = lambda model, batch, key: fnp.mean((batch[0] @ model - batch[1]) ** 2)
    exact = np.linalg.lstsq(x, y)[0]
    fit = train.Trainer(squares, optim.lbfgs()).fit(np.zeros(5), [(x, y)] * 12, epochs=1)
    np.testing.assert_allclose(fit.model, exact, rtol=1e-3, atol=1e-5)
    flat = lambda model, batch, key: fnp.sum(model["v"]) * 0
    plateau = optim.chain(optim.sgd(1.0), optim.reduce_on_plateau(factor=0.5, patience=2))
    state = train.Trainer(flat, plateau).fit(MODEL, [BATCH] * 7, epochs=1).state
    assert float(state.optimizer[1].scale) < 0.5


def test_the_norm_of_float64_is_float64():
    gradient = np.random.default_rng(0).normal(size=9)
    step = train.make_step(lambda m, b, key: fnp.sum(m * b), optim.sgd(1.0), clip=0.1)
    state, info = step(train.init_state(np.zeros(9), optim.sgd(1.0)), gradient)
    np.testing.assert_allclose(info["gradient_norm"], np.linalg.norm(gradient), rtol=1e-14)
    np.testing.assert_allclose(state.model, -0.1 * gradient / np.linalg.norm(gradient), rtol=1e-14)


def test_the_next_batch_is_read_while_a_step_runs():
    begun = [threading.Event() for _ in range(7)]

    def read(batch):
        begun[int(batch[0])].set()
        return batch.astype(np.float32)

    class Waits(train.Callback):
        """A step that ends only when the batch after it is being read: for ever, if that waits for the step."""

        def step(self, run):
            waits.append(begun[run.batch].wait(20) if run.batch < len(begun) else True)

    waits = []
    batches = data.from_arrays(np.arange(7)).batch(1).map(read).prefetch(1)
    loss = lambda model, batch, key: fnp.sum(model * batch)
    train.Trainer(loss, optim.sgd(0.1)).fit(np.ones(1, np.float32), batches, epochs=1, callbacks=[Waits()])
    assert waits == [True] * 7


def test_what_is_not_trained_keeps_its_bits():
    kept = {"w": False, "v": True}
    for mask in (kept, lambda model: kept):
        way = moved(one_step(optim.adamw(0.1), trainable=mask)[0])
        assert not way["w"].any() and way["v"].all()
    model = nn.freeze(nn.Linear(3, 2, key=random.key(0)), "bias")
    optimizer = optim.sgd(0.1)
    state = train.init_state(model, optimizer)
    state, _ = train.make_step(lambda m, b, key: fnp.sum(m(b) ** 2), optimizer)(state, np.ones((2, 3), np.float32))
    assert np.array_equal(state.model.bias, model.bias) and not np.array_equal(state.model.weight, model.weight)


def test_running_statistics_go_along():
    def stateful(model, seen, batch, key):
        return loss(model, batch, key), {"n": seen["n"] + 1}, {"seen": seen["n"]}

    trainer = train.Trainer(stateful, optim.sgd(0.01), stateful=True)
    fit = trainer.fit(trainer.init(MODEL, model_state={"n": np.int32(5)}), [BATCH, BATCH], epochs=2)
    assert int(fit.state.model_state["n"]) == 9
    assert [row["seen"] for row in fit.history] == [5.5, 7.5]


@pytest.mark.parametrize(
    "after, says",
    [
        (
            lambda seen: {**seen, "more": None},
            r"returns at \['a'\]: a dict with \('n',\) expected, found \('more', 'n'\)",
        ),
        (
            lambda seen: {"n": {"n": seen["n"]}},
            r"compared with .* the one before at \['a'\]\['n'\] should be a dict, found",
        ),
    ],
)
def test_a_state_of_another_structure_is_told_where_it_parts(after, says):
    def stateful(model, seen, batch, key):
        return loss(model, batch, key), {"a": after(seen["a"])}

    state = train.init_state(MODEL, optim.adam(0.1), model_state={"a": {"n": np.float32(0)}})
    with pytest.raises(TrainingError, match=says) as caught:
        train.make_step(stateful, optim.adam(0.1), stateful=True)(state, BATCH)
    assert len(str(caught.value)) < 300


def test_keys_differ_from_step_to_step_and_come_from_the_seed():
    draw = lambda model, batch, key: (loss(model, batch, key), {"draw": random.uniform(key)})
    run = lambda seed: [
        row["draw"] for row in train.Trainer(draw, optim.sgd(0.0)).fit(MODEL, [BATCH], epochs=3, key=seed).history
    ]
    assert len({*run(1), *run(2)}) == 6 and run(1) == run(1)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: one_step(accumulate=5), ShapeError, "multiple of it"),
        (lambda: one_step(accumulate=0), ShapeError, "at least 1"),
        (lambda: one_step(accumulate=2, batch=(X, Y[:3])), TrainingError, "share their first axis"),
        (lambda: one_step(function=lambda m, b, k: (1, 2, 3)), TrainingError, "(scalar, aux)"),
        (lambda: one_step(function=lambda m, b, k: (loss(m, b, k), 2.0)), TrainingError, "dict of what to report"),
        (lambda: one_step(trainable={"w": False, "v": False}), TreeError, "nothing to train"),
        (lambda: train.init_state({"n": np.arange(3)}, optim.sgd(0.1)), TreeError, "nothing to train"),
        (lambda: train.Precision("int8"), DTypeError, "bfloat16 or float16"),
        (lambda: train.Trainer(loss, optim.sgd(0.1), not_finite="stop"), TrainingError, "'raise', 'skip' or 'ignore'"),
        (lambda: train.Call(stop=print), TrainingError, "start, step, epoch, finish"),
        (lambda: train.EarlyStopping(mode="best"), TrainingError, "'min', 'max' or None; found 'best'"),
    ],
)  # fmt: skip
def test_errors_of_a_step_name_the_way_out(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)


# ------------------------------------------------------------------------------------------- the guard


class Net(nn.Module):
    first: nn.Linear
    second: nn.Linear
    shift: float = nn.static_field(default=0.0)

    def __call__(self, x):
        return self.second(fnp.log(fnp.abs(self.first(x)) - self.shift))


def net(shift=0.0):
    a, b = random.split(random.key(0))
    return Net(nn.Linear(5, 3, key=a), nn.Linear(3, 1, key=b), shift)


@pytest.mark.parametrize(
    ("model", "function", "batch", "says"),
    [
        (MODEL, loss, (np.where(np.arange(12)[:, None] == 7, np.nan, X).astype(np.float32), Y), ["the data", "[0] is nan at [7, 0] (5 of 60"]),
        ({**MODEL, "v": np.array([1, np.inf, 1, 1], np.float32)}, loss, BATCH, ["the model", "['v'] is inf at [1]"]),
        (net(99.0), lambda m, b, k: fnp.mean(m(b[0])), BATCH, ["model: NaN appeared: 'log' gave nan", "test_train.py"]),
        ({"inner": [net(99.0)]}, lambda m, b, k: fnp.mean(m["inner"][0](b[0])), BATCH, ["model['inner'][0]: NaN appeared"]),
        (MODEL, lambda m, b, k: fnp.sum(fnp.sqrt(m["v"] * 0)), BATCH, ["the gradient of ['v'] is", "going backward", "appeared"]),
        (MODEL, lambda m, b, k: fnp.sum(m["v"] ** 2) / 0.0, BATCH, ["the loss: inf appeared"]),
    ],
)  # fmt: skip
def test_a_loss_that_is_not_finite_is_traced_to_where_it_comes_from(model, function, batch, says):
    trainer = train.Trainer(function, optim.sgd(0.1))
    with pytest.raises(NaNError) as caught:
        trainer.fit(model, [batch], epochs=1)
    assert all(part in str(caught.value) for part in [*says, "step 0 (batch 1 of epoch 1)", "error.state"])
    kept = tree.leaves(caught.value.state.model)
    assert [np.asarray(x).tobytes() for x in kept] == [np.asarray(x).tobytes() for x in tree.leaves(model)]


def test_steps_that_are_not_finite_can_be_left_out_or_ignored():
    bad = (np.full_like(X, np.nan), Y)
    fits = {
        how: train.Trainer(loss, optim.sgd(0.01), not_finite=how).fit(MODEL, [BATCH, bad, BATCH], epochs=1)
        for how in ("skip", "ignore")
    }
    alone = train.Trainer(loss, optim.sgd(0.01)).fit(MODEL, [BATCH, BATCH], epochs=1)
    assert all(np.array_equal(fits["skip"].model[n], alone.model[n]) for n in MODEL)
    assert fits["skip"].history[0]["loss"] == alone.history[0]["loss"] and fits["skip"].history[0]["skipped"] == 1
    assert np.isnan(fits["ignore"].model["w"]).all()


def test_labels_out_of_range_are_named():
    classify = lambda model, batch, key: nn.cross_entropy(batch[0] @ model["w"], batch[1])
    with pytest.raises(NaNError, match=r"labels are 0 to 3, as the logits have 4 classes; found 12 at \[2\]"):
        train.Trainer(classify, optim.sgd(0.1)).fit(MODEL, [(X[:4], np.array([0, 3, 12, 1]))], epochs=1)
    said = explain_not_finite(
        lambda m, b: fnp.sum(m / 0.0), np.ones(2, np.float32), (np.ones(3, np.float32), np.array([0, 12, 3]))
    )
    assert "integers in the batch (labels out of range?): [1] from 0 to 12" in said


# -------------------------------------------------------------------------------------------- the loop


def test_fit_evaluate_predict_weigh_examples_not_batches():
    cut = [(X[:7], Y[:7]), (X[7:], Y[7:])]
    metrics = {"above": lambda model, batch: fnp.mean(batch[1] > 0)}
    trainer = train.Trainer(loss, optim.sgd(0.0), metrics)
    fit = trainer.fit(MODEL, cut, epochs=2, validation=cut)
    want = float(loss(MODEL, BATCH, None))
    assert set(fit.history[1]) == {"loss", "gradient_norm", "seconds", "rate", "validation_loss", "validation_above"}
    np.testing.assert_allclose([fit.history[1]["loss"], fit.history[0]["validation_loss"]], want, rtol=1e-6)
    np.testing.assert_allclose(trainer.evaluate(MODEL, cut)["above"], np.mean(Y > 0), rtol=1e-6)
    forward = lambda model, batch: fnp.tanh(batch[0] @ model["w"]) @ model["v"]
    found = train.Trainer(loss, optim.sgd(0.0), forward=forward).predict(MODEL, cut)
    np.testing.assert_allclose(found, forward(MODEL, BATCH), rtol=1e-5, atol=1e-6)
    layer = nn.Linear(5, 2, key=random.key(0))
    np.testing.assert_allclose(trainer.predict(layer, cut), layer(X), rtol=1e-5, atol=1e-6)


class Largest:
    """A metric in the protocol of fx.metrics: the greatest error of all batches, and where each output lay."""

    init = staticmethod(lambda: {"error": fnp.zeros(()), "seen": fnp.zeros(3)})
    compute = staticmethod(lambda state: state["error"])

    @staticmethod
    def update(state, outputs, targets):
        return {"error": fnp.maximum(state["error"], fnp.max(fnp.abs(outputs - targets))), "seen": state["seen"] + 1}


class Seen(Largest):
    compute = staticmethod(lambda state: state["seen"])


def test_metrics_that_keep_totals_see_every_batch():
    forward = lambda model, batch: fnp.tanh(batch[0] @ model["w"]) @ model["v"]
    trainer = train.Trainer(loss, optim.sgd(0.0), {"largest": Largest(), "seen": Seen()}, forward)
    cut = [(X[:7], Y[:7]), (X[7:], Y[7:])]
    found = trainer.evaluate(MODEL, cut)
    np.testing.assert_allclose(found["largest"], np.abs(forward(MODEL, BATCH) - Y).max(), rtol=1e-5)
    assert found["seen"].tolist() == [2, 2, 2]
    history = trainer.fit(MODEL, cut, epochs=1, validation=cut).history
    assert "validation_largest" in history[0] and "validation_seen" not in history[0]
    with pytest.raises(TrainingError, match=r"\(inputs, targets\)"):
        train.Trainer(lambda m, b, k: fnp.sum(m["v"]), optim.sgd(0.0), {"largest": Largest()}).evaluate(MODEL, [X])


def test_the_model_that_was_given_stays_and_fits_can_be_continued():
    trainer, before = train.Trainer(loss, optim.adam(0.01)), {n: x.copy() for n, x in MODEL.items()}
    given = tree.map(fnp.asarray, MODEL)
    once = trainer.fit(given, [BATCH], epochs=3)
    assert all(np.array_equal(given[n], before[n]) for n in MODEL)
    half = trainer.fit(given, [BATCH], epochs=1)
    twice = trainer.fit(half.state, [BATCH], epochs=2)
    assert all(np.array_equal(once.model[n], twice.model[n]) for n in MODEL)


@pytest.mark.parametrize(
    ("data", "epochs", "says"),
    [
        ([], 1, "the data gave no batch"),
        (iter([BATCH]), 2, "can be gone through once"),
        ([BATCH, (X[:, :4], Y)], 1, "batch 2 of epoch 1 does not fit the model"),
        (lambda epoch: [BATCH] if epoch == 0 else [], 2, "the data gave no batch"),
        ([BATCH, (X[:0], Y[:0])], 1, "batch 2 of epoch 1 has no examples"),
    ],
)
def test_data_that_cannot_be_trained_on_is_named(data, epochs, says):
    with pytest.raises(TrainingError) as caught:
        train.Trainer(loss, optim.sgd(0.01)).fit(MODEL, data, epochs=epochs)
    assert says in str(caught.value)


def test_an_error_in_the_first_batch_says_what_the_batch_holds():
    with pytest.raises(Exception) as caught:
        train.Trainer(loss, optim.sgd(0.01)).fit(MODEL, [(X[:, :4], Y)], epochs=1)
    assert any(
        "in batch 1 of epoch 1, which holds [0]: f32[12,4], [1]: f32[12]" in note for note in caught.value.__notes__
    )


def test_a_batch_without_examples_has_no_score():
    with pytest.raises(TrainingError, match="batch 2 of evaluate has no examples"):
        train.Trainer(loss, optim.sgd(0.01)).evaluate(MODEL, [BATCH, (X[:0], Y[:0])])


@pytest.mark.parametrize("ask", ["evaluate", "predict"])
def test_empty_data_is_named_after_training_too(ask):
    with pytest.raises(TrainingError, match="the data is empty"):
        getattr(train.Trainer(loss, optim.sgd(0.01)), ask)(MODEL, [])


def test_means_are_exact_however_late_they_are_fetched(monkeypatch):
    values, weights = RNG.normal(size=50), RNG.randint(1, 9, 50)
    found = []
    for pending in (1, 7, 512):
        monkeypatch.setattr(train.Means, "PENDING", pending)
        means = train.Means()
        for value, weight in zip(values, weights):
            means.add({"value": value}, int(weight))
        found.append(means.result()["value"])
    assert len(set(found)) == 1
    np.testing.assert_allclose(found[0], np.average(values, weights=weights), rtol=1e-12)
