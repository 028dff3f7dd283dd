"""What a run is given: each mistake is named before anything is trained, and what was trained goes on."""

from __future__ import annotations

import numpy as np
import pytest

import fx.numpy as fnp
from fx import data, metrics, nn, optim, random, train
from fx.errors import DTypeError, MissingStateError, ShapeError, TrainingError

X, Y = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2), np.arange(6) % 2
LINE = {"w": np.ones((2, 2), np.float32)}


def scored(model, batch, key):
    return nn.cross_entropy(batch[0] @ model["w"], batch[1])


def trained(
    data=((X, Y),),
    *,
    loss=scored,
    optimizer=None,
    model=None,
    epochs=1,
    validation=None,
    callbacks=(),
    key=0,
    **options,
):
    trainer = train.Trainer(loss, optimizer or optim.sgd(0.1), **options)
    given = LINE if model is None else model
    return trainer.fit(given, data if callable(data) else list(data) if type(data) is tuple and type(data[0]) is tuple else data,
                       epochs=epochs, validation=validation, callbacks=callbacks, key=key)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(data=X), "one array of shape (6, 2), whose rows would each be taken for a batch"),
        (dict(data=(X, Y)), "the arrays themselves, [0]: f32[6,2], [1]: i64[6]"),
        (dict(data={"x": X}), "the arrays themselves, ['x']: f32[6,2]"),
        (dict(data=data.Split(X, Y)), "Cut them into batches"),
        (dict(data=5), "goes through batches"),
        (dict(data=data.from_arrays((X, Y))), "single examples ([0]: f32[2], [1]: i64[])"),
        (dict(validation=(X, Y)), "evaluate goes through batches"),
        (dict(epochs="3"), "epochs is a number of passes over the data, an int of at least 0; found '3'"),
        (dict(epochs=1.5), "found 1.5"),
        (dict(epochs=-1), "found -1"),
        (dict(key="a"), "the key of a run is a key of fx.random, or a seed; found 'a'"),
        (dict(key=None), "found None"),
        (dict(optimizer=0.1), "an optimizer has init and update (fx.optim); found 0.1. Make one"),
        (dict(optimizer=optim.adam), "Call it: optim.adam(1e-3)."),
        (dict(clip=-1.0), "clip is the greatest norm of the gradient, a positive number, or None; found -1.0"),
        (dict(clip="1"), "found '1'"),
        (dict(metrics=[1]), "metrics are given by name"),
        (dict(metrics={"a": metrics.Accuracy}), "metrics['a'] is the class Accuracy; make one: Accuracy(...)"),
        (dict(metrics={"a": "accuracy"}), "or a function (model, batch); found 'accuracy'"),
        (dict(callbacks=train.Progress()), "callbacks is a list of them"),
        (dict(callbacks=[train.EarlyStopping]), "the callback EarlyStopping is a class"),
        (dict(callbacks=[print]), "train.Call(epoch=function)"),
        (dict(model=lambda x: x), "found a function. A function has nothing to train."),
        (dict(model={"a": nn.Linear}), "found the class Linear at ['a']. Make one of it."),
        (dict(loss=lambda m, b, key: None), "the loss returned None"),
        (dict(loss=lambda m, b, key: nn.cross_entropy(b[0] @ m["w"], b[1], reduction="none")), "found float32[6]. Take its mean"),
        (dict(loss=lambda m, b, key: fnp.sum(b[1])), "one real number, the mean over the examples; found int64[]"),
        (dict(loss=lambda m, b, key: (fnp.sum(m["w"]), {"out": b[0]})), "'out' has shape (6, 2)"),
        (dict(loss=lambda m, b, key: (fnp.sum(m["w"]), {"loss": 1.0})), "a name that the step itself reports under"),
    ],
)  # fmt: skip
def test_what_a_run_cannot_take_is_named(given, says):
    with pytest.raises(TrainingError) as caught:
        trained(**given)
    assert says in str(caught.value)


@pytest.mark.parametrize("labels", [np.array(list("ababab")), np.array([None] * 6)])
def test_labels_that_are_names_say_how_they_are_numbered(labels):
    with pytest.raises(DTypeError) as caught:
        trained([(X, labels)])
    assert "np.unique(labels, return_inverse=True)" in caught.value.__notes__[0]


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_one_array_is_no_data_to_evaluate_or_predict(call):
    with pytest.raises(TrainingError, match="one array of shape"):
        getattr(train.Trainer(scored, optim.sgd(0.1)), call)(LINE, X)
    with pytest.raises(TrainingError, match=r"single examples .*batch\(32\)"):
        getattr(train.Trainer(scored, optim.sgd(0.1)), call)(LINE, data.from_arrays((X, Y)))


def test_a_precision_of_another_kind_is_named():
    with pytest.raises(DTypeError, match="found 'int8'"):
        trained(precision=np.int8)
    assert trained(precision=np.float16).state.scale is not None


def test_a_fit_goes_on_from_a_fit_and_leaves_it_as_it_was():
    once = trained()
    before = np.asarray(once.model["w"]).copy()
    twice = trained(model=once)
    again = trained(model=once.state)
    np.testing.assert_array_equal(once.model["w"], before)
    np.testing.assert_array_equal(twice.model["w"], again.model["w"])
    assert int(twice.state.step) == 2 and not np.array_equal(twice.model["w"], before)


def test_running_statistics_come_along_with_a_fit():
    model = nn.Sequential(nn.BatchNorm(2), nn.Linear(2, 2, key=random.key(0)))

    def loss(model, state, batch, key):
        out, state = model(batch[0], state, key=key)
        return nn.cross_entropy(out, batch[1]), state

    trainer = train.Trainer(loss, optim.sgd(0.1), stateful=True, metrics={"accuracy": metrics.Accuracy()})
    fit = trainer.fit(model, [(X, Y)], epochs=2)
    want = trainer.evaluate(fit.model, [(X, Y)], model_state=fit.state.model_state)
    assert trainer.evaluate(fit, [(X, Y)]) == trainer.evaluate(fit.state, [(X, Y)]) == want
    assert trainer.predict(fit, [(X, Y)]).shape == (6, 2)
    for call in (trainer.evaluate, trainer.predict):
        with pytest.raises(MissingStateError, match=r"pass the fit itself, or model_state=fit\.state\.model_state"):
            call(fit.model, [(X, Y)])
    with pytest.raises(TypeError) as caught:
        trained(loss=loss, model=model)
    assert any("stateful=True" in note for note in caught.value.__notes__)


def test_a_smaller_last_batch_is_told_as_that():
    model = nn.Sequential(nn.BatchNorm(2))

    def loss(model, state, batch, key):
        out, state = model(batch[0], state)
        return nn.cross_entropy(out, batch[1]), state

    model = nn.tree_at(lambda m: m.layers, model, (nn.Linear(2, 2, key=random.key(0)), *model.layers))
    with pytest.raises(ShapeError, match=r"^BatchNorm\(2\) in training") as caught:
        trained(data.batches((X, Y), 5), loss=loss, model=model, stateful=True)
    assert "drop_last=True" in caught.value.__notes__[0] and "f32[1,2]" in caught.value.__notes__[0]


def test_targets_are_found_in_any_batch():
    batch = {"x": X, "labels": np.where(np.arange(6) < 2, -100, Y)}
    loss = lambda m, b, key: nn.cross_entropy(b["x"] @ m["w"], b["labels"], ignore_index=-100)
    options = {"metrics": {"accuracy": metrics.Accuracy(ignore_index=-100)}, "forward": lambda m, b: b["x"] @ m["w"]}
    model = {"w": np.float32([[0, 1], [0, 0]])}
    found = train.Trainer(loss, optim.sgd(0.1), targets=lambda b: b["labels"], **options).evaluate(model, [batch])
    assert found["accuracy"] == np.mean((X[2:, 0] > 0) == Y[2:])
    with pytest.raises(TrainingError, match="Trainer\\(targets="):
        train.Trainer(loss, optim.sgd(0.1), **options).evaluate(model, [batch])


def test_errors_in_evaluate_and_predict_say_of_which_batch():
    trainer = train.Trainer(scored, optim.sgd(0.1), forward=lambda m, b: b[0] @ m["w"])
    for call in (trainer.evaluate, trainer.predict):
        with pytest.raises(ShapeError) as caught:
            call(LINE, [(X, Y), (X[:, :1], Y)])
        assert "holds [0]: f32[6,1], [1]: i64[6]" in caught.value.__notes__[0]
    with pytest.raises(DTypeError) as caught:
        trainer.evaluate(LINE, [(X, np.array(list("ababab")))])
    assert "np.unique" in caught.value.__notes__[0]
    with pytest.raises(TypeError) as caught:
        train.Trainer(scored, optim.sgd(0.1)).predict(nn.Bilinear(2, 2, 1, key=random.key(0)), [(X, Y)])
    assert "Trainer(forward=...)" in caught.value.__notes__[0]
