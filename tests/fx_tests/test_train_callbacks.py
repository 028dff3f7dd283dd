"""Callbacks: what stops a run, what is logged, what the terminal shows."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from fx import optim, train
from fx.errors import SaveError, SaveWarning, TrainingError
from fx.train import tensorboard

MODEL = {"w": np.float32(1)}
TRAINER = train.Trainer(
    lambda model, batch, key: (model["w"] ** 2, {"half": model["w"] / 2}),
    optim.sgd(0.25),
    {"score": lambda model, batch: model["w"] * 0 + batch},
)


def run(*callbacks, scores=(3.0,), steps=2, **options):
    """A run whose epochs have these validation scores; the weight halves with every step."""
    given = iter(scores)
    return TRAINER.fit(
        MODEL, [np.zeros(4, np.float32)] * steps, epochs=len(scores), callbacks=callbacks,
        validation=lambda epoch: [np.float32(next(given))], **options,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- stopping


@pytest.mark.parametrize(
    ("scores", "options", "epochs", "best"),
    [
        ([3, 2, 1, 0], {}, 4, 4),
        ([3, 1, 2, 2, 0], {"patience": 2}, 4, 2),
        ([3, 1, 2, 0.5, 2, 2], {"patience": 2}, 6, 4),
        ([1, 3, 2, 2], {"mode": "max", "patience": 2}, 4, 2),
        ([3, 2.9, 2.8, 2.7], {"least": 0.5, "patience": 2}, 3, 1),
    ],
)
def test_early_stopping_waits_and_brings_the_best_back(scores, options, epochs, best):
    fit = run(train.EarlyStopping("validation_score", **options), scores=scores)
    assert len(fit.history) == epochs
    assert float(fit.model["w"]) == 0.5 ** (2 * best)
    last = run(train.EarlyStopping("validation_score", restore=False, **options), scores=scores)
    assert float(last.model["w"]) == 0.5 ** (2 * epochs)


def test_early_stopping_begins_anew_with_every_fit():
    """One callback for all folds: what an earlier fit reached stops no later one."""
    stopping = train.EarlyStopping("validation_score", patience=1)
    assert len(run(stopping, scores=(1, 2, 3)).history) == 2
    again = run(stopping, scores=(9, 8, 7))
    assert len(again.history) == 3 and float(again.model["w"]) == 0.5**6


def test_patience_of_zero_bears_no_epoch_without_improvement():
    assert len(run(train.EarlyStopping("validation_score", patience=0), scores=(3, 2, 2, 1)).history) == 3


def test_a_run_that_was_stopped_early_ends_there_when_started_again(tmp_path):
    callbacks = lambda: (train.EarlyStopping("validation_score", patience=2), train.Checkpoint(tmp_path))
    first = run(*callbacks(), scores=(3, 4, 5, 1, 0))
    second = run(*callbacks(), scores=(9, 9, 9, 9, 9))
    assert len(first.history) == len(second.history) == 3
    assert [row["validation_score"] for row in second.history] == [3, 4, 5]
    assert float(second.model["w"]) == float(first.model["w"]) == 0.25
    more = run(train.EarlyStopping("validation_score", patience=3), train.Checkpoint(tmp_path), scores=(1, 1, 1, 1, 1))
    assert len(more.history) == 5  # more patience: it goes on


def test_a_number_of_another_library_is_told_by_our_name():
    with pytest.raises(TrainingError, match="Here it is called validation_loss"):
        run(train.EarlyStopping("val_loss"))


@pytest.mark.parametrize("options", [{"every": 0}, {"epochs": 0}, {"every": 2.5}])
def test_intervals_of_checkpoints_are_looked_at_before_the_run(tmp_path, options):
    with pytest.raises(TrainingError, match="at least 1; found"):
        train.Checkpoint(tmp_path, **options)


def test_a_number_that_is_not_reported_is_named():
    with pytest.raises(TrainingError) as caught:
        TRAINER.fit(MODEL, [np.zeros(1, np.float32)], epochs=1, callbacks=[train.EarlyStopping()])
    assert "validation_loss" in str(caught.value) and "half, loss" in str(caught.value)


def test_callbacks_see_every_hook_in_order_and_the_last_is_last():
    seen = []

    class Last(train.Callback):
        last = True

        def epoch(self, run):
            seen.append("saved")

    hooks = {name: (lambda run, name=name: seen.append(name)) for name in ("start", "step", "epoch", "finish")}
    run(Last(), train.Call(**hooks), scores=(1, 1))
    assert seen == ["start", "step", "step", "epoch", "saved", "step", "step", "epoch", "saved", "finish"]


def test_learning_rates_are_set_for_every_epoch():
    trainer = train.Trainer(
        lambda model, batch, key: model["w"], optim.inject_hyperparams(optim.sgd)(learning_rate=9.0)
    )
    fit = trainer.fit(
        MODEL, [np.zeros(1, np.float32)] * 2, epochs=3, callbacks=[train.LearningRate(lambda epoch: 10.0**-epoch)]
    )
    np.testing.assert_allclose(fit.model["w"], 1 - 2 * (1 + 0.1 + 0.01), rtol=1e-6)
    with pytest.raises(TrainingError, match="inject_hyperparams"):
        run(train.LearningRate(lambda epoch: 0.1))


@pytest.mark.parametrize("options", [{}, {"cooldown": 2}, {"mode": "max", "least": 0.3}, {"minimum": 0.05}], ids=str)
def test_a_plateau_lowers_the_rate_as_pytorch_s(options, tmp_path):
    """PyTorch bears one epoch more; a run that is cut and goes on has the same rates."""
    torch = pytest.importorskip("torch")
    scores = np.random.default_rng(3).uniform(0, 2, 30).round(1)
    weights = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        weights, options.get("mode", "min"), factor=0.5, patience=1, threshold=options.get("least", 0.0), threshold_mode="abs",
        cooldown=options.get("cooldown", 0), min_lr=options.get("minimum", 0.0), eps=0,
    )  # fmt: skip
    wanted = [(theirs.step(s), weights.param_groups[0]["lr"])[1] for s in scores]
    trainer = train.Trainer(
        lambda model, batch, key: model["w"] * 0,
        optim.inject_hyperparams(optim.sgd)(1.0),
        {"score": lambda model, batch: batch},
    )
    rate = lambda run: rates.append(float(optim.tree_get(run.state.optimizer, "learning_rate")))
    for epochs in ([30], [7, 8, 30]):
        rates = []
        for until in epochs:
            slower = train.ReduceOnPlateau("validation_score", factor=0.5, patience=2, **options)
            saved = train.Checkpoint(tmp_path / str(epochs))
            trainer.fit(
                MODEL, [np.zeros(1, np.float32)], epochs=until, validation=lambda n: [np.float64(scores[n])],
                callbacks=[slower, train.Call(epoch=rate), saved],
            )  # fmt: skip
        np.testing.assert_allclose(rates, wanted, rtol=1e-6)
    with pytest.raises(TrainingError, match="inject_hyperparams"):
        run(train.ReduceOnPlateau("validation_score"))


@pytest.mark.parametrize("steers", [train.LearningRate(lambda n: 0.5**n), train.ReduceOnPlateau("loss", patience=1)])
def test_a_rate_is_set_from_one_side_alone(steers):
    def rate_after(rate):
        trainer = train.Trainer(lambda model, batch, key: model["w"] * 0, optim.inject_hyperparams(optim.sgd)(rate))
        fitted = trainer.fit(MODEL, [np.zeros(1, np.float32)], epochs=3, callbacks=[steers])
        return float(optim.tree_get(fitted.state.optimizer, "learning_rate"))

    with pytest.raises(TrainingError, match="a schedule of the optimizer sets it"):
        rate_after(lambda step: 0.3)
    if isinstance(steers, train.ReduceOnPlateau):
        steers.minimum = 1.0
        assert rate_after(0.25) == 0.25  # a minimum raises nothing


def test_a_reason_to_stop_ends_the_run_after_the_step():
    def third(run):
        run.stop = "enough" if int(run.state.step) == 3 else ""

    fit = run(train.Call(step=third), scores=(1, 1, 1))
    assert int(fit.state.step) == 3 and len(fit.history) == 1


# -------------------------------------------------------------------------------------------- logging


def test_csv_and_json_lines_hold_the_history(tmp_path):
    fit = run(
        train.CSVLog(tmp_path / "run.csv"),
        train.JSONLog(tmp_path / "run.jsonl", every=2),
        scores=(3, float("nan")),
        steps=4,
    )
    rows = list(csv.DictReader((tmp_path / "run.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row, truth in zip(rows, fit.history):
        np.testing.assert_equal({k: float(v) for k, v in row.items() if k != "epoch"}, truth)
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 2), (1, 4), (1, 4), (2, 6), (2, 8), (2, 8)]
    assert lines[0]["half"] == 0.25 and lines[5]["validation_score"] == "nan"


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    (tmp_path / "run.jsonl").write_text('{"epoch": 1, "lo')
    run(train.JSONLog(tmp_path / "run.jsonl"), scores=(3, 2), steps=1)
    first, *rest = (tmp_path / "run.jsonl").read_text().splitlines()
    assert first == '{"epoch": 1, "lo' and [json.loads(line)["epoch"] for line in rest] == [1, 2]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: train.JSONLog("x", every=0), TrainingError, "JSONLog: every is a number of steps or epochs"),
        (lambda: train.TensorBoardLog("x", every=0), TrainingError, "TensorBoardLog: every is a number of steps"),
        (lambda: train.EarlyStopping(patience="a"), TrainingError, "EarlyStopping: patience is .*; found 'a'"),
        (lambda: train.ReduceOnPlateau(patience=-1), TrainingError, "ReduceOnPlateau: patience is .*; found -1"),
        (lambda: train.EarlyStopping(3), TrainingError, "by its name, such as 'validation_loss'; found 3"),
        (lambda: run(train.TensorBoardLog("/dev/null/x")), SaveError, "no events can be written into /dev/null/x"),
    ],
)
def test_what_callbacks_cannot_take_is_named(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_curves_are_drawn_after_every_epoch(tmp_path):
    pytest.importorskip("matplotlib")
    run(train.Plot(tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_events_are_read_back(tmp_path):
    fit = run(train.TensorBoardLog(tmp_path, every=3), scores=(3, 2), steps=4)
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("events.out.tfevents.")
    events = tensorboard.read_events(path)
    assert [(e.step, e.value) for e in events if e.tag == "step/half"] == [(3, 0.125), (7, 0.5**7)]
    assert [(e.step, e.value) for e in events if e.tag == "epoch/validation_score"] == [(1, 3.0), (2, 2.0)]
    losses = [e.value for e in events if e.tag == "epoch/loss"]
    np.testing.assert_allclose(losses, [row["loss"] for row in fit.history], rtol=1e-6)
    damaged = bytearray(path.read_bytes())
    damaged[-7] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="checksum"):
        tensorboard.read_events(path)


def test_tensorboard_events_have_the_bytes_of_protobuf(tmp_path, monkeypatch):
    """Those of ``Event(wall_time=1.5, step=300, summary=...)`` as TensorBoard 2.20's own classes write them."""
    monkeypatch.setattr(tensorboard.time, "time", lambda: 1.5)
    writer = tensorboard.EventWriter(tmp_path)
    writer.scalars(300, {"loss": 0.25, "a/b": -3.0})
    writer.close()
    event = "09000000000000f83f10ac022a190a0b0a046c6f7373150000803e0a0a0a03612f6215000040c0"
    assert bytes.fromhex(event) in writer.path.read_bytes()


# ------------------------------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_without_a_terminal_every_epoch_is_a_line():
    stream = io.StringIO()
    run(train.Progress("title", stream), scores=(3, 2))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "title" and lines[1].startswith("epoch 1/2  loss 0.6250  half 0.3750  validation half 0.1250")
    assert len(lines) == 3


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "━" * 12 + "─" * 12), ("ascii", "#" * 12 + "-" * 12)])
def test_a_terminal_shows_a_bar_that_the_line_replaces(monkeypatch, encoding, bar):
    monkeypatch.setattr(train.Progress, "REDRAW", 0)
    monkeypatch.setattr(Terminal, "encoding", encoding)
    stream = Terminal()
    run(train.Progress("title", stream, rich=False, tell=lambda run: f"told {run.history[-1]['half']}"))
    out = stream.getvalue()
    assert f"epoch 1/1 {bar} loss 1.0000" in out and "examples/s  0:00 left" in out
    assert out.count("\r\x1b[K") == 4
    assert out.split("\r\x1b[K")[-1] == "epoch 1/1  told 0.375\n"


def test_rich_draws_the_bar_where_it_is_installed(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(train.Progress, "REDRAW", 0)
    stream = Terminal()
    run(train.Progress("title", stream, rich=True), scores=(3, 2))
    out = stream.getvalue()
    assert "title" in out and "epoch 2/2" in out and "validation score 2.0000" in out


def test_a_stop_and_an_error_are_told():
    stream = io.StringIO()
    run(train.Progress(stream=stream), train.EarlyStopping("validation_score", patience=1), scores=(1, 2, 3))
    assert "stopped: no better validation_score for 1 epochs" in stream.getvalue()
    with pytest.raises(TrainingError):
        TRAINER.fit(MODEL, [], epochs=1, callbacks=[train.Progress(stream=stream)])
    assert "ended by TrainingError at batch 1 of epoch 1" in stream.getvalue()


@pytest.mark.parametrize("log", [train.CSVLog, train.JSONLog])
def test_a_log_that_cannot_be_written_ends_no_run(tmp_path, log, monkeypatch):
    from pathlib import Path

    for path, says in ((tmp_path / "none" / "log", "there is no folder"), (tmp_path, "it is a folder")):
        with pytest.raises(SaveError, match=says):
            run(log(path), scores=(1,))
    (tmp_path / "log").write_text("before")
    opened = Path.open

    def full(self, mode="r", *args, **options):
        if "w" in mode or "a" in mode:
            raise OSError(28, "No space left on device")
        return opened(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.warns(SaveWarning, match="log was not written: No space left on device. The run goes on"):
        fit = run(log(tmp_path / "log"), scores=(1, 2))
    assert len(fit.history) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["log"] and (tmp_path / "log").read_text() == "before"


def test_curves_for_tensorboard_that_cannot_be_written_end_no_run(tmp_path, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorboard.EventWriter, "flush", full)
    with pytest.warns(SaveWarning, match="tfevents.*was not written: No space left on device"):
        fit = run(train.TensorBoardLog(tmp_path), scores=(1, 2))
    assert len(fit.history) == 2
