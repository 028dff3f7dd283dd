"""Logistic regression by accelerated gradient descent, against Newton's method.  ``python -m fx train logistic``.

Whether a tumour is benign, from thirty measurements of 569; every measurement is standardised.  The penalty on the
coefficients is that of scikit-learn's ``LogisticRegression(C=1)``: |w|^2 / 2 for the sum of the losses.

Source: Street, Wolberg, Mangasarian, "Nuclear feature extraction for breast tumor diagnosis", 1993 (the table); Nesterov, "A method
for solving the convex programming problem with convergence rate O(1/k^2)", 1983.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fx
import fx.numpy as fnp
from fx import data, nn, optim
from fx.examples import linear, programs
from fx.train import Progress, Trainer

QUICK = {"epochs": 20}
STEPS = linear.STEPS


def table() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Standardised measurements, which tumours are benign, and the names of the measurements."""
    x, benign, names = data.breast_cancer()
    return linear.standardised(x), benign, names


def loss(model: Any, batch: Any, key: Any = None) -> Any:
    """The mean of -log p(label), with the penalty."""
    x, benign = batch
    sign = 2 * fnp.asarray(benign) - 1
    penalty = fnp.sum(model["coefficients"] ** 2) / (2 * len(x))
    return penalty - fnp.mean(nn.log_sigmoid(sign * linear.predict(model, x)))


def rates(x: np.ndarray) -> tuple[float, float]:
    """Learning rate and momentum for a curvature of at most M = (greatest eigenvalue of the covariance) / 4 + 1 / n and at
    least m = 1 / n (Nesterov): 1 / M and (1 - sqrt(m / M)) / (1 + sqrt(m / M))."""
    most, least = np.linalg.eigvalsh(x.T @ x / len(x))[-1] / 4 + 1 / len(x), 1 / len(x)
    root = np.sqrt(least / most)
    return float(1 / most), float((1 - root) / (1 + root))


def optimizer(x: np.ndarray) -> Any:
    """Gradient descent with Nesterov's momentum."""
    rate, momentum = rates(x)
    return optim.sgd(rate, momentum=momentum, nesterov=True)


def newton(model: Any, batch: Any, steps: int = 12) -> Any:
    """The minimum by Newton's method."""
    flat, back = fx.flatten_util.ravel_pytree(model)
    value = lambda w: loss(back(w), batch)
    step = fx.jit(lambda w: w - fnp.linalg.solve(fx.hessian(value)(w), fx.grad(value)(w)))
    for _ in range(steps):
        flat = step(flat)
    return back(flat)


def train(*, epochs: int = 20) -> programs.Result:
    """Trains; prints how far the coefficients are from Newton's, and the accuracy."""
    x, benign, names = table()
    batch = (x, benign)
    fit = Trainer(loss, optimizer(x)).fit(
        linear.init(x.shape[1]),
        [batch] * STEPS,
        epochs=epochs,
        callbacks=[Progress("logistic regression on breast cancer")],
    )
    exact = newton(linear.init(x.shape[1]), batch)
    difference = max(float(fnp.abs(a - b).max()) for a, b in zip(fx.tree.leaves(fit.model), fx.tree.leaves(exact)))
    accuracy = float(np.mean((np.asarray(linear.predict(fit.model, x)) > 0) == benign))
    print(f"largest difference to Newton's method {difference:.1e}; accuracy on the table itself {accuracy:.2%}")
    return programs.Result(fit.model, fit.history, {"difference": difference, "accuracy": accuracy}, {"names": names})


figure = linear.figure


if __name__ == "__main__":
    programs.main(train)
