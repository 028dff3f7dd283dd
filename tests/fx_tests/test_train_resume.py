"""A run that is killed, interrupted or broken off goes on to the bits it would have had."""

from __future__ import annotations

import io
import os
import random as python_random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import resumed_run

from fx import optim, train, tree
from fx.errors import CheckpointMismatchError, SaveError, SaveWarning
from fx.io import load


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
