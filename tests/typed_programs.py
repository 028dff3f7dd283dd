"""Programs as a user writes them, for mypy: what fx exports and what its layers take is known to type checkers.

``mypy`` reads this file (pyproject.toml); nothing here is run.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np

import fx
import fx.numpy as fnp
from fx import lax, nn, optim, random, train


def loss(w: fx.Array, x: Any, y: Any) -> Any:
    return fnp.mean(fnp.square(fnp.matmul(x, w) - y))


step = fx.jit(fx.value_and_grad(loss))
batched = fx.vmap(fx.grad(loss), in_axes=(None, 0, 0))
curvature = fx.hessian(loss)


class Network(nn.Module):
    hidden: nn.Linear
    norm: nn.LayerNorm
    out: nn.Linear
    size: int = nn.static_field()

    def __init__(self, size: int, *, key: Any) -> None:
        first, second = random.split(key)
        self.hidden, self.out = nn.Linear(4, size, key=first), nn.Linear(size, 2, key=second)
        self.norm, self.size = nn.LayerNorm(size), size

    def __call__(self, x: Any) -> Any:
        return self.out(nn.relu(self.norm(self.hidden(x))))


class Scale(nn.Module):  # without an __init__: the dataclass's
    factor: fx.Array
    power: int = nn.static_field(default=1)

    def __call__(self, x: Any) -> Any:
        return x * self.factor**self.power


key = random.key(0)
network = Network(8, key=key)
layers = nn.Sequential(
    nn.Conv2d(1, 8, 3, strides=2, padding="SAME", key=key), nn.MaxPool2d(2), nn.Flatten(), Scale(fnp.ones(8), power=2)
)
recurrent = nn.LSTM(3, 5, num_layers=2, bidirectional=True, key=key)
separable = nn.SeparableConv2d(3, 6, 3, multiplier=2, key=key)
optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(1e-3))
state = optimizer.init(network)
network = optim.apply_updates(network, optimizer.update(network, state, network)[0])


def run(xs: np.ndarray) -> Any:
    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        return carry + x, carry

    return lax.scan(body, fnp.zeros(()), xs)


trainer = train.Trainer


@fx.jit
def area(width: float, height: float = 1.0) -> float:
    return width * height


@fx.jit(static_argnums=1)
def power(x: float, n: int) -> float:
    return x**n


assert_type(area(2.0, height=3.0), float)
assert_type(power(2.0, 3), float)
assert_type(area.lower(2.0).explain(), str)
assert_type(fx.value_and_grad(area)(2.0), tuple[float, Any])
assert_type(nn.Conv2d(1, 8, 3, key=key), nn.Conv2d)


def wrong() -> None:
    """What a checker must say: unused ignores are errors here."""
    nn.Conv2d(1, 8, 3, stride=2, key=key)  # type: ignore[call-arg]
    nn.LSTM(3, 5, layers=2, key=key)  # type: ignore[call-arg]
    Scale(fnp.ones(3), 1, 2)  # type: ignore[call-arg]
    area(2.0, depth=3.0)  # type: ignore[call-arg]
    fx.grad(area)(width="wide")  # type: ignore[arg-type]
    fx.gradient(loss)  # type: ignore[attr-defined]
    fnp.random  # type: ignore[attr-defined]
    nn.Dense  # type: ignore[attr-defined]
    optim.SGD  # type: ignore[attr-defined]
    train.ModelCheckpoint  # type: ignore[attr-defined]
