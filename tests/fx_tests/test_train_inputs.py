"""What a run is given: each mistake is named before anything is trained, and what was trained goes on."""

from __future__ import annotations

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import data, io, metrics, nn, optim, random, train, viz
from fx.errors import DTypeError, MissingStateError, NaNError, ShapeError, TrainingError, TrainingWarning

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
    with pytest.raises(TrainingError, match="called loss") as caught:
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
    noted = caught.value.__notes__[-1]
    assert "drop_last=True" in noted and "f32[1,2]" in noted


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


@pytest.mark.parametrize("how", ["raise", "skip", "ignore"])
def test_labels_that_evaluate_cannot_take_are_named(how):
    """By the loss, or by a metric alone; a number that is not finite for another reason is looked into where that is wanted."""
    of_nothing = lambda model, batch, key: fnp.mean(batch[0] @ model["w"])
    batches = [(X, Y), (X, np.where(np.arange(6) == 4, 2, Y))]
    for loss, metric, says in (
        (scored, None, "cross_entropy: labels are 0 to 1.*found 2 at"),
        (of_nothing, metrics.ConfusionMatrix(2), "ConfusionMatrix: labels are 0 to 1"),
        (of_nothing, metrics.Accuracy(), "Accuracy: labels are 0 to 1"),
        (of_nothing, metrics.TopKAccuracy(1), "TopKAccuracy: labels are 0 to 1"),
        (of_nothing, metrics.AUCROC(classes=2), "AUCROC: labels are 0 to 1"),
        (of_nothing, metrics.Collection(a=metrics.MAE(), b=metrics.Accuracy()), "equal shape|labels are 0 to 1"),
    ):
        scores = {} if metric is None else {"metric": metric}
        trainer = train.Trainer(
            loss, optim.sgd(0.1), metrics=scores, not_finite=how, forward=lambda model, batch: batch[0] @ model["w"]
        )
        if how == "ignore" and not isinstance(metric, metrics.Collection):
            values = trainer.evaluate(LINE, batches)
            assert any(np.isnan(np.asarray(v)).all() for v in values.values())
            continue
        with pytest.raises(ValueError, match=says):
            trainer.evaluate(LINE, batches)


def test_a_nan_in_evaluate_is_traced_to_where_it_comes_from():
    holed = X.copy()
    holed[3, 1] = np.nan
    given = [(X, Y), (holed, Y)]
    with pytest.raises(
        NaNError, match=r"batch 2 of evaluate is not finite: the data holds it already: \[0\] is nan at \[3, 1\]"
    ):
        train.Trainer(scored, optim.sgd(0.1)).evaluate(LINE, given)
    with pytest.raises(NaNError, match="batch 1 of evaluate is not finite: the loss: .*'log'"):
        train.Trainer(lambda m, b, key: fnp.log(fnp.sum(m["w"] * 0)), optim.sgd(0.1)).evaluate(LINE, given)
    assert np.isnan(train.Trainer(scored, optim.sgd(0.1), not_finite="skip").evaluate(LINE, given)["loss"])


def test_an_epoch_in_which_every_step_was_left_out_is_a_warning():
    trainer = train.Trainer(scored, optim.sgd(0.1), not_finite="skip")
    with pytest.warns(TrainingWarning, match="every step of epoch 1 was left out.*not_finite='raise' names where"):
        fit = trainer.fit(LINE, [(X * np.nan, Y)], epochs=1)
    assert fit.history[0]["skipped"] == 1
    assert train.logs.told({"loss": 0.5, "skipped": 3}) == "loss 0.5000  skipped 3"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: train.Trainer(scored, optim.sgd(0.1), lr=0.1), "It is the optimizer's: optim.adam(1e-3)."),
        (lambda: train.Trainer(scored, optim.sgd(0.1)).fit(LINE, [], epochs=1, batch_size=3), "data.batches((x, y), 32)"),
        (lambda: train.Trainer(scored, optim.sgd(0.1)).fit(LINE, [], epochs=1, validation_data=3), "called validation."),
        (lambda: train.EarlyStopping(min_delta=0.1), "called least."),
        (lambda: train.Checkpoint(dirpath="x"), "called folder."),
        (lambda: train.ModelCheckpoint, "It is train.Checkpoint."),
        (lambda: data.DataLoader, "data.from_arrays((x, y))"),
        (lambda: metrics.f1_score, "It is metrics.F1."),
        (lambda: io.load_state_dict, "It is io.load_torch."),
        (lambda: viz.gradcam, "It is viz.grad_cam."),
    ],
)  # fmt: skip
def test_names_of_other_libraries_are_told(wrong, says):
    with pytest.raises((TypeError, AttributeError)) as caught:
        wrong()
    assert says in str(caught.value)


def test_inputs_and_targets_given_one_by_one_are_told_how_batches_are_made():
    with pytest.raises(TypeError) as caught:
        train.Trainer(scored, optim.sgd(0.1)).fit(LINE, np.ones(3), np.ones(3), epochs=1)
    (note,) = caught.value.__notes__
    assert (
        note.startswith("fit takes model, data by position, epochs, validation,") and "data.batches((x, y), 32)" in note
    )


@pytest.mark.parametrize("room", ["data", "io", "metrics", "numpy", "optim", "random", "train", "viz", "fx"])
def test_what_is_told_of_other_names_is_there(room):
    module = fx if room == "fx" else getattr(fx, room)
    table = module._ELSEWHERE if hasattr(module, "_ELSEWHERE") else module.elsewhere.NAMES
    for name, here in table.items():
        assert name not in module.__all__, name
        assert here in module.__all__ if here.isidentifier() else here.endswith("."), name


def test_a_batch_that_is_wider_than_the_parameters_is_a_warning():
    step = lambda w, batch, key: ((batch["x"] @ w) ** 2).mean()
    narrow, wide = np.ones(2, np.float32), [{"x": np.ones((3, 2)), "y": np.ones(3, int)}] * 2
    with pytest.warns(
        TrainingWarning, match=r"hold float64 \(\['x'\]\) beside parameters of float32.*astype\('float32'\)"
    ) as told:
        train.Trainer(step, optim.sgd(0.1)).fit(narrow, wide, epochs=2)
    assert len(told) == 1 and told[0].filename == __file__
    train.Trainer(step, optim.sgd(0.1)).fit(np.ones(2), wide, epochs=1)
    train.Trainer(step, optim.sgd(0.1), precision="bfloat16").fit(narrow, wide, epochs=1)


def test_an_array_that_is_two_parameters_is_a_warning():
    table = nn.Embedding(5, 3, key=random.key(0))
    model, zeros = {"in": table, "out": table}, np.zeros(3)
    with pytest.warns(TrainingWarning, match="in/weight and out/weight are one array.*Embedding.attend"):
        train.init_state(model, optim.sgd(0.1))
    train.init_state(model, optim.sgd(0.1), trainable={"in": True, "out": False})  # one that follows the other
    train.init_state({"a": zeros, "b": zeros}, optim.sgd(0.1))


def test_a_model_given_as_a_mask_is_named():
    model = nn.Sequential(nn.Linear(2, 3, key=random.key(0)), nn.Linear(3, 2, key=random.key(1)))
    loss = lambda model, batch, key: nn.cross_entropy(model(batch[0]), batch[1])
    frozen = nn.freeze(model, "layers/0/*")
    for wrong in (frozen, lambda model: frozen):
        with pytest.raises(
            ValueError, match=r"trainable is a tree of bools.*at \.layers\[0\]\.weight.*nn.path_mask.*nn.freeze"
        ):
            trained(loss=loss, model=model, trainable=wrong)
    by_mask = trained(loss=loss, model=model, trainable=nn.path_mask(model, "layers/1/*"))
    by_mark = trained(loss=loss, model=frozen)
    for fit in (by_mask, by_mark):
        assert fit.model.layers[0].weight.tobytes() == model.layers[0].weight.tobytes()
    assert by_mask.model.layers[1].weight.tobytes() == by_mark.model.layers[1].weight.tobytes()
    with pytest.raises(
        ValueError, match=r"Linear with .*frozen: bias weight expected, found .*use_bias|frozen: bias weight"
    ):
        fx.tree.map(fnp.add, frozen, model)


@pytest.mark.parametrize(
    ("loss", "options", "says"),
    [
        (lambda model, batch: 0.0, {}, "the loss is called loss(model, batch, key): too many positional arguments"),
        (lambda model, state, batch, key: 0.0, {}, "Trainer(..., stateful=True)"),
        (lambda model, batch, key: 0.0, {"stateful": True}, "loss(model, model_state, batch, key): too many positional arguments"),
        ("mse", {}, "a loss is a function, loss(model, batch, key) -> scalar; found 'mse'"),
    ],
)  # fmt: skip
def test_a_loss_that_cannot_be_called_is_named(loss, options, says):
    with pytest.raises(TrainingError) as caught:
        trained(loss=loss, **options)
    assert says in str(caught.value)


def test_a_loss_that_no_scale_mends_is_named_at_once():
    """Of a gradient that overflows, the scale falls; a loss that is not finite is not scaled."""
    with pytest.raises(NaNError, match="step 0 .*'log'"):
        trained(loss=lambda m, b, key: fnp.log(fnp.sum(m["w"]) - 100), precision="float16")
    scaled = trained(
        [(X, Y)] * 12, loss=lambda m, b, key: fnp.sum(m["w"]) * 1e3, optimizer=optim.sgd(1e-6), precision="float16"
    )
    assert scaled.history[0]["skipped"] > 0 and np.isfinite(scaled.history[0]["loss"])


@pytest.mark.parametrize(
    ("name", "given", "mode"),
    [
        ("validation_loss", None, "min"),
        ("validation_accuracy", None, "max"),
        ("validation_F1", None, "max"),
        ("acc", None, "max"),
        ("accuracy_gap", None, "min"),
        ("validation_accuracy", "min", "min"),
        ("validation_loss", "max", "max"),
    ],
)
def test_what_is_better_is_told_by_the_name(name, given, mode, tmp_path):
    assert train.EarlyStopping(name, mode=given).mode == mode
    assert train.Checkpoint(tmp_path, best=name, mode=given).mode == mode


def test_a_best_that_is_not_reported_is_named(tmp_path):
    with pytest.raises(TrainingError, match="no 'val_loss'.* Here it is called validation_loss."):
        trained(callbacks=[train.Checkpoint(tmp_path, best="val_loss")])
