"""A run that is killed and started again by test_train_resume: ``python resumed_run.py FOLDER`` prints a line after every
step, and waits for one."""

from __future__ import annotations

import sys

import numpy as np

import fx.numpy as fnp
from fx import data, io, nn, optim, train

X = np.random.RandomState(0).normal(size=(120, 6)).astype(np.float32)
Y = (X @ np.arange(1, 7) / 6).astype(np.float32)
EPOCHS = 3


BATCHES = data.from_arrays((X, Y)).shuffle(seed=5).batch(10).prefetch(2)


def loss(model, batch, key):
    x, y = batch
    hidden = nn.dropout(key, fnp.tanh(x @ model["w"]), 0.3)
    return fnp.mean((hidden @ model["v"] - y) ** 2)


def fit(*callbacks: train.Callback) -> train.Fit:
    rng = np.random.RandomState(1)
    model = {"w": rng.normal(size=(6, 8)).astype(np.float32), "v": rng.normal(size=8).astype(np.float32)}
    return train.Trainer(loss, optim.adam(0.02)).fit(
        model, BATCHES, epochs=EPOCHS, validation=[(X, Y)], key=7, callbacks=callbacks
    )


if __name__ == "__main__":
    folder = sys.argv[1]

    def tell_and_wait(run: train.Run) -> None:
        print(int(run.state.step), flush=True)
        sys.stdin.readline()  # at the end of the input it does not wait

    told = train.Call(step=tell_and_wait)
    result = fit(told, train.EarlyStopping(patience=99), train.Checkpoint(f"{folder}/run", every=2, sync=False))
    io.save(f"{folder}/end.safetensors", {"state": result.state, "losses": [row["loss"] for row in result.history]})
