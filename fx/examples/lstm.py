"""Sunspots, month by month, by a recurrent network.  ``python -m fx train lstm --help``.

The network reads the square roots of the numbers up to a month (their noise has nearly the same size everywhere) and predicts by how
much the next one differs. Beside it stand the same month of the year before, that of the cycle before, and a linear autoregression
on nine months, AR(9), fitted to all that the network was trained and chosen on.

Source: Hochreiter, Schmidhuber, "Long short-term memory", 1997; Yule, "On a method of investigating periodicities in disturbed
series, with special reference to Wolfer's sunspot numbers", 1927 (autoregression).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fx.numpy as fnp
from fx import data, nn, optim, random, viz
from fx import train as training
from fx.examples import programs

QUICK = {"epochs": 14}
MONTHS, STRIDE, WARM_UP = 192, 24, 36  # of the pieces that are trained on; the first months of each do not count
CHOOSING, TESTING = (
    12 * (1950 - 1749),
    12 * (1980 - 1749),
)  # the first months of what chooses the epoch, and of the test
SCALE = 4.0
RATE = 3e-3


class Forecaster(nn.Module):
    """sqrt(x[t + 1]) = sqrt(x[t]) + W h[t]; W starts as 0."""

    memory: nn.LSTM
    out: nn.Linear

    def __init__(self, key: Any, hidden: int = 32) -> None:
        first, second = random.split(key)
        self.memory = nn.LSTM(1, hidden, key=first)
        self.out = nn.Linear(hidden, 1, weight_init=nn.initializers.zeros, key=second)

    def __call__(self, roots: Any) -> Any:
        return roots + self.out(self.memory((roots / SCALE - 1.5)[..., None]))[..., 0]


def loss(model: Forecaster, batch: Any, key: Any = None) -> Any:
    """The mean squared error of the next square roots, over the months that count."""
    roots, following, counts = batch
    return fnp.sum(counts * (model(roots) - following) ** 2) / fnp.sum(counts)


def trainer() -> training.Trainer:
    """Loss and optimizer."""
    return training.Trainer(loss, optim.adam(RATE), clip=1.0)


def pieces(roots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlapping pieces of the training months: (pieces, months) of roots, the following ones, and which count."""
    starts = np.arange(0, CHOOSING - MONTHS, STRIDE)
    at = starts[:, None] + np.arange(MONTHS)
    return roots[at], roots[at + 1], np.broadcast_to(np.arange(MONTHS) >= WARM_UP, at.shape).astype(np.float32)


def autoregression(series: np.ndarray, order: int, until: int) -> np.ndarray:
    """For each month but the first ``order`` the prediction of the linear model fitted to the months before ``until``."""
    past = np.lib.stride_tricks.sliding_window_view(series, order)[:-1]
    design = np.column_stack([past, np.ones(len(past))])
    fitted = np.linalg.lstsq(design[: until - order], series[order:until])[0]
    return design @ fitted


def train(*, epochs: int = 150, batch_size: int = 16, seed: int = 0) -> programs.Result:
    """Trains on 1749 to 1949, chooses the epoch by 1950 to 1979, and tells the error of 1980 to 2009."""
    series = data.sunspots().targets
    roots = np.sqrt(series).astype(np.float32)
    months = np.arange(1, len(series))  # those that are predicted
    chooses = ((months >= CHOOSING) & (months < TESTING)).astype(np.float32)
    for_params, for_order = random.split(random.key(seed))
    loop = trainer()
    fit = loop.fit(
        Forecaster(for_params),
        lambda epoch: data.batches(pieces(roots), batch_size, key=random.fold_in(for_order, epoch)),
        epochs=epochs, validation=[(roots[None, :-1], roots[None, 1:], chooses[None])],
        callbacks=[training.EarlyStopping(patience=40), training.Progress("lstm on sunspots")],
    )  # fmt: skip
    guessed = np.asarray(loop.predict(fit.model, [roots[None, :-1]])[0], np.float64)
    truth = series[TESTING:]
    predictions = {
        "lstm": np.maximum(guessed, 0)[TESTING - 1 :] ** 2,
        "AR(9)": autoregression(series, 9, TESTING)[TESTING - 9 :],
        "last month": series[TESTING - 1 : -1],
        "a year before": series[TESTING - 12 : -12],
        "a cycle before": series[TESTING - 132 : -132],
    }
    errors = {name: float(np.sqrt(np.mean((p - truth) ** 2))) for name, p in predictions.items()}
    for name, error in errors.items():
        print(f"{name:>15}: root mean squared error {error:6.2f}, {error / errors['AR(9)']:6.1%} of AR(9)'s")
    return programs.Result(fit.model, fit.history, errors, {"truth": truth, "predictions": predictions})


def figure(result: programs.Result) -> Any:
    """The months of the test and their predictions, and the curves."""
    drawn = viz.figure(13, 5)
    left, right = drawn.subfigures(1, 2, width_ratios=(2, 1))
    axes, years = left.subplots(), 1980 + np.arange(len(result.shown["truth"])) / 12
    axes.plot(years, result.shown["truth"], "k", label="observed", linewidth=0.8)
    for name in ("lstm", "AR(9)"):
        axes.plot(years, result.shown["predictions"][name], label=name, linewidth=0.8)
    axes.set(ylabel="sunspots", title="each month predicted from those before it")
    axes.legend()
    viz.curves(result.history, ["loss", "validation_loss"], on=right)
    return drawn


if __name__ == "__main__":
    programs.main(train)
