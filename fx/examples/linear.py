"""Linear regression by gradient descent with momentum, against its closed form.  ``python -m fx train linear``.

How far a disease has gone after a year, from ten measurements of 442 patients; every measurement is standardised.

Source: Efron, Hastie, Johnstone, Tibshirani, "Least angle regression", 2004 (the table); Polyak, "Some methods of speeding up
the convergence of iteration methods", 1964 (momentum).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fx.numpy as fnp
from fx import data, optim, viz
from fx.examples import programs
from fx.train import Progress, Trainer

QUICK = {"epochs": 10}
STEPS = 100  # in what is called an epoch here: every step sees all patients


def table() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Standardised measurements, the targets, and the names of the measurements."""
    x, y, names = data.diabetes()
    return standardised(x), y, names


def standardised(x: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and deviation 1."""
    return (x - x.mean(0)) / x.std(0)


def init(columns: int) -> dict[str, Any]:
    """Coefficients and intercept, zero, in float64."""
    return {"coefficients": fnp.zeros(columns, "float64"), "intercept": fnp.zeros((), "float64")}


def predict(model: Any, x: Any) -> Any:
    """x w + b."""
    return x @ model["coefficients"] + model["intercept"]


def loss(model: Any, batch: Any, key: Any = None) -> Any:
    """Half the mean squared error."""
    x, y = batch
    return fnp.mean((predict(model, x) - y) ** 2) / 2


def rates(x: np.ndarray) -> tuple[float, float]:
    """Learning rate and momentum that are best for a quadratic whose curvature lies between m and M (Polyak)::

    rate = 4 / (sqrt(M) + sqrt(m))**2,    momentum = ((sqrt(M) - sqrt(m)) / (sqrt(M) + sqrt(m)))**2
    """
    least, most = np.sqrt(np.linalg.eigvalsh(x.T @ x / len(x))[[0, -1]])
    return float(4 / (most + least) ** 2), float(((most - least) / (most + least)) ** 2)


def optimizer(x: np.ndarray) -> Any:
    """Gradient descent with momentum."""
    rate, momentum = rates(x)
    return optim.sgd(rate, momentum=momentum)


def closed_form(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients and intercept that solve the normal equations."""
    return np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y)[0]


def train(*, epochs: int = 10) -> programs.Result:
    """Trains; prints how far the coefficients are from the closed form's, and R2."""
    x, y, names = table()
    fit = Trainer(loss, optimizer(x)).fit(
        init(x.shape[1]), [(x, y)] * STEPS, epochs=epochs, callbacks=[Progress("linear regression on diabetes")]
    )
    exact = closed_form(x, y)
    found = np.append(np.asarray(fit.model["coefficients"]), fit.model["intercept"])
    for name, ours, truth in zip((*names, "intercept"), found, exact):
        print(f"{name:>10} {ours:12.6f}  closed form {truth:12.6f}")
    difference, r2 = float(np.abs(found - exact).max()), float(1 - 2 * loss(fit.model, (x, y)) / y.var())
    print(f"largest difference {difference:.1e}; R2 {r2:.4f}")
    return programs.Result(fit.model, fit.history, {"difference": difference, "R2": r2}, {"names": names})


def figure(result: programs.Result) -> Any:
    """The coefficients."""
    return viz.bars(np.asarray(result.model["coefficients"]), result.shown["names"])


if __name__ == "__main__":
    programs.main(train)
