"""A run that is killed, interrupted or broken off goes on to the bits it would have had."""

from __future__ import annotations

import io
import os
import random as python_random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import resumed_run
from children import forked

import fx
from fx import optim, train, tree
from fx.errors import (
    CheckpointError,
    CheckpointMismatchError,
    SaveError,
    SaveWarning,
    TrainingError,
    TrainingWarning,
)
from fx.io import load, save


def bits(values):
    return [(np.asarray(x).dtype, np.asarray(x).tobytes()) for x in tree.leaves(values)]


@pytest.fixture(scope="module")
def whole():
    """The run that nothing happens to."""
    return resumed_run.fit(train.EarlyStopping(patience=99))


def same(found: train.Fit, whole: train.Fit) -> bool:
    timeless = lambda history: [{k: v for k, v in row.items() if k not in ("seconds", "rate")} for row in history]
    return bits(found.state) == bits(whole.state) and timeless(found.history) == timeless(whole.history)


def test_killed_at_random_moments_it_ends_with_the_same_bits(whole, tmp_path):
    chance, steps = python_random.Random(), 12 * resumed_run.EPOCHS
    child = [sys.executable, str(Path(__file__).with_name("resumed_run.py")), str(tmp_path)]
    for _ in range(3):
        process = subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        process.stdin.write("\n" * chance.randrange(3, steps // 4))  # so many steps it may go on, and never to the end
        process.stdin.flush()
        time.sleep(chance.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    run = subprocess.run(child, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    last = run.stdout.split()
    assert int(last[-1]) == steps and len(last) <= steps
    found = load(tmp_path / "end.safetensors", {"state": whole.state, "losses": [0.0] * resumed_run.EPOCHS})
    assert bits(found["state"]) == bits(whole.state)
    assert found["losses"] == [row["loss"] for row in whole.history]


@pytest.mark.parametrize("every", [None, 5])
def test_errors_lose_nothing(whole, tmp_path, every):
    def breaks_at(n):
        def hook(run):
            if int(run.state.step) == n:
                raise OSError("the network is gone")

        return train.Call(step=hook)

    for n in (3, 12, 20):
        with pytest.raises(OSError, match="network"):
            resumed_run.fit(train.EarlyStopping(patience=99), breaks_at(n), train.Checkpoint(tmp_path, every=every))
        assert train.Checkpoint(tmp_path).manager.latest_step() == n
    assert same(resumed_run.fit(train.EarlyStopping(patience=99), train.Call(), train.Checkpoint(tmp_path)), whole)


def test_ctrl_c_ends_after_the_step_and_saves(whole, tmp_path):
    def press(run):
        if int(run.state.step) == 17:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        resumed_run.fit(train.EarlyStopping(patience=99), train.Call(step=press), train.Checkpoint(tmp_path))
    assert signal.getsignal(signal.SIGINT) is before
    assert int(caught.value.state.step) == 17 and "17 steps" in caught.value.__notes__[0]
    assert train.Checkpoint(tmp_path).manager.latest_step() == 17
    told = io.StringIO()
    callbacks = [train.EarlyStopping(patience=99), train.Progress(stream=told), train.Checkpoint(tmp_path)]
    assert same(resumed_run.fit(*callbacks), whole)
    assert told.getvalue().startswith("going on from batch 6 of epoch 2\n")


def test_a_checkpoint_of_another_run_is_named_and_kept(tmp_path):
    loss, data = (lambda model, batch, key: ((model["w"] - batch) ** 2).mean()), [np.ones(3, np.float32)]
    model = {"w": np.zeros(3, np.float32)}
    train.Trainer(loss, optim.adam(0.1)).fit(model, data, epochs=2, callbacks=[train.Checkpoint(tmp_path)])
    saved = bits(load(train.Checkpoint(tmp_path).manager.path(2)))
    with pytest.raises(CheckpointMismatchError) as caught:
        train.Trainer(loss, optim.sgd(0.1)).fit(model, data, epochs=3, callbacks=[train.Checkpoint(tmp_path)])
    assert "state.optimizer" in str(caught.value) and "resume=False" in "".join(caught.value.__notes__)
    assert bits(load(train.Checkpoint(tmp_path).manager.path(2))) == saved


def test_a_full_disk_is_a_warning_and_the_run_goes_on(whole, tmp_path, monkeypatch):
    checkpoint = train.Checkpoint(tmp_path)
    write = checkpoint.manager.save

    def save(step, *args, **options):
        if step == 24:
            raise SaveError("no space left on device: make room.")
        write(step, *args, **options)

    monkeypatch.setattr(checkpoint.manager, "save", save)
    with pytest.warns(SaveWarning, match="no checkpoint at step 24: no space left on device.* is that of step 12"):
        found = resumed_run.fit(train.EarlyStopping(patience=99), checkpoint)
    assert same(found, whole) and checkpoint.manager.steps() == [12, 36]


TOWARDS = train.Trainer(lambda w, batch, key: ((w - batch) ** 2).mean(), optim.sgd(0.1))
START, ONES = np.zeros(3, np.float32), [np.ones(3, np.float32)] * 4


class At(train.Callback):
    """Does something after a step."""

    def __init__(self, step, what):
        self.number, self.what = step, what

    def step(self, run):
        if int(run.state.step) == self.number:
            self.what()


def fails():
    raise OSError("no more data")


@pytest.mark.parametrize("left", ["nothing", "a file"])
def test_a_folder_that_is_gone_ends_no_run(tmp_path, left):
    folder = tmp_path / "run"

    def remove():
        shutil.rmtree(folder)
        if left == "a file":
            folder.write_text("")

    with pytest.warns(SaveWarning, match="is that of step None"):
        fit = TOWARDS.fit(START, ONES, epochs=2, callbacks=[train.Checkpoint(folder, every=2), At(5, remove)])
    assert int(fit.state.step) == 8


@pytest.mark.parametrize("saved", [{"a": np.ones(2)}, np.ones(2)], ids=["a dict", "an array"])
def test_a_file_of_something_else_is_no_run(tmp_path, saved):
    save(tmp_path / "step-0000000003.safetensors", saved)
    with pytest.raises(CheckpointMismatchError) as caught:
        TOWARDS.fit(START, ONES, epochs=1, callbacks=[train.Checkpoint(tmp_path)])
    assert "resume=False" in "".join(caught.value.__notes__)


def test_a_folder_has_one_writer(tmp_path):
    """Another process is told who it is, and harms nothing; what a killed one leaves behind is no writer."""
    ready, done = os.pipe(), os.pipe()
    begun = At(2, lambda: (os.write(ready[1], b"x"), os.read(done[0], 1)))
    child = forked(lambda: TOWARDS.fit(START, ONES, epochs=1, callbacks=[train.Checkpoint(tmp_path), begun]))
    os.read(ready[0], 1)
    before = sorted(os.listdir(tmp_path))
    checkpoint = train.Checkpoint(tmp_path, keep=1)
    with pytest.raises(CheckpointError, match=f"is being written by process {child} on .* choose another folder"):
        TOWARDS.fit(START, ONES, epochs=1, callbacks=[checkpoint])
    assert sorted(os.listdir(tmp_path)) == before
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for end in (*ready, *done):
        os.close(end)
    TOWARDS.fit(START, ONES, epochs=1, callbacks=[checkpoint])
    assert os.listdir(tmp_path) == ["step-0000000004.safetensors"]


def test_a_folder_of_another_model_is_kept_when_a_callback_is_used_again(tmp_path):
    checkpoint = train.Checkpoint(tmp_path)
    TOWARDS.fit(START, ONES, epochs=1, callbacks=[checkpoint])
    with pytest.raises(CheckpointMismatchError):
        TOWARDS.fit(START.astype(np.float64), ONES, epochs=2, callbacks=[checkpoint])
    assert checkpoint.manager.steps() == [4]


def test_callbacks_find_what_they_saved_wherever_they_stand(tmp_path):
    def callbacks(*others):
        return [*others, train.Checkpoint(tmp_path)]

    TOWARDS.fit(START, ONES, epochs=2, callbacks=callbacks(train.EarlyStopping("loss"), At(9, fails)))
    stopping, quiet = train.EarlyStopping("loss"), train.Call(epoch=lambda run: None)
    fit = TOWARDS.fit(START, ONES, epochs=3, callbacks=callbacks(quiet, At(99, fails), stopping))
    assert stopping.best == min(row["loss"] for row in fit.history) and len(stopping._kept) > 0
    TOWARDS.fit(START, ONES, epochs=3, callbacks=callbacks(found := train.EarlyStopping("loss")))
    assert found.best == stopping.best  # from the checkpoint: no epoch was left
    with pytest.warns(TrainingWarning, match="what a callback EarlyStopping had come to"):
        TOWARDS.fit(START, ONES, epochs=4, callbacks=callbacks())


def test_a_callback_that_fails_to_end_does_not_keep_others_from_saving(tmp_path):
    class Bad(train.Callback):
        def abort(self, run, error):
            raise BrokenPipeError("the terminal is gone")

    with pytest.raises(OSError, match="no more data") as caught:
        TOWARDS.fit(START, ONES, epochs=1, callbacks=[Bad(), At(3, fails), train.Checkpoint(tmp_path)])
    assert "Bad could not end as it should: BrokenPipeError" in "".join(caught.value.__notes__)
    assert int(caught.value.state.step) == 3 and train.Checkpoint(tmp_path).manager.latest_step() == 3


def test_an_error_in_the_middle_of_a_step_loses_nothing(tmp_path):
    calls = []

    def reads(x):
        calls.append(x)
        if len(calls) == 3:
            raise OSError("no more data")
        return x

    def loss(w, batch, key):
        batch = fx.pure_callback(reads, fx.ShapeDtypeStruct(batch.shape, batch.dtype), batch)
        return ((w - batch) ** 2).mean()

    trainer = train.Trainer(loss, optim.sgd(0.1))
    with pytest.raises(OSError, match="no more data") as caught:
        trainer.fit(START, ONES, epochs=1, callbacks=[train.Checkpoint(tmp_path, every=1)])
    assert int(caught.value.state.step) == 2 and train.Checkpoint(tmp_path).manager.latest_step() == 2
    assert int(trainer.fit(START, ONES, epochs=1, callbacks=[train.Checkpoint(tmp_path)]).state.step) == 4
    assert len(calls) == 3 + 2  # from the third step on


def test_fewer_batches_than_were_done_are_told(tmp_path):
    with pytest.raises(OSError, match="no more data"):
        TOWARDS.fit(START, ONES, epochs=1, callbacks=[At(3, fails), train.Checkpoint(tmp_path)])
    with pytest.raises(TrainingError, match="had done 3 batches of epoch 1; the data has 2 now"):
        TOWARDS.fit(START, ONES[:2], epochs=1, callbacks=[train.Checkpoint(tmp_path)])


def test_the_best_checkpoint_stays(tmp_path):
    values = iter([3.0, 1.0, 2.0, 2.5])
    metrics = {"score": lambda model, batch: model["w"] * 0 + batch}
    trainer = train.Trainer(lambda model, batch, key: model["w"] ** 2, optim.sgd(0.1), metrics)
    checkpoint = train.Checkpoint(tmp_path, keep=1, best="validation_score")
    trainer.fit(
        {"w": np.float32(1)}, [np.zeros(2, np.float32)], epochs=4, callbacks=[checkpoint],
        validation=lambda epoch: [np.float32(next(values))],
    )  # fmt: skip
    assert checkpoint.manager.steps() == [2, 4] and checkpoint.manager.best_step() == 2
