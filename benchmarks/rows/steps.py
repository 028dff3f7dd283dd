"""Training steps, and what they cost before the second one: the first result, a new batch size, memory.

A step of a network is loss, gradient and update; its state is donated and fed back, PyTorch updates in place with its
fused optimizers.  The recurrent and the attention row are the loss and its gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..fresh import Memory, NewBatch, Start
from ..libraries import arrays, torch, traced
from ..row import Data, Goal, Prepared, Row, Write, f32

_GOALS = (Goal(0.6),)


@dataclass(frozen=True)
class Step:
    """A training step at any batch size."""

    name: str
    batch: int
    row: Callable[[int], Row]


# ------------------------------------------------------------------------------------------ networks


@dataclass(frozen=True)
class Network:
    """Convolutions (each with relu and a 2x2 max-pool), then dense layers with relu between them; cross-entropy.

    ``shapes``: of the weights, the convolutions' HWIO.
    """

    image: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    rule: str

    def data(self, rng: np.random.Generator, batch: int) -> Data:
        params = [
            {"w": f32(rng, *s) / np.float32(np.sqrt(np.prod(s[:-1]))), "b": np.zeros(s[-1], np.float32)}
            for s in self.shapes
        ]
        zeros = lambda: [{k: np.zeros_like(v) for k, v in layer.items()} for layer in params]
        moments = {"sgd": {}, "momentum": {"m": zeros()}, "adam": {"m": zeros(), "v": zeros(), "t": np.float32(0)}}
        return {
            "state": {"params": params, **moments[self.rule]},
            "x": f32(rng, batch, *self.image),
            "y": rng.integers(0, self.shapes[-1][-1], batch).astype(np.int32),
        }

    def loss(self, lib: Any) -> Callable[..., Any]:
        xp, lax = lib.numpy, lib.lax

        def f(params: Any, x: Any, y: Any) -> Any:
            for i, layer in enumerate(params):
                if layer["w"].ndim == 4:
                    numbers = ("NHWC", "HWIO", "NHWC")
                    x = lax.conv_general_dilated(x, layer["w"], (1, 1), "VALID", dimension_numbers=numbers)
                    x = lib.nn.relu(x + layer["b"])
                    x = lax.reduce_window(x, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
                else:
                    x = x.reshape(x.shape[0], -1) @ layer["w"] + layer["b"]
                    x = lib.nn.relu(x) if i < len(params) - 1 else x
            return -xp.mean(xp.take_along_axis(lib.nn.log_softmax(x), y[:, None], axis=1))

        return f

    def step(self, lib: Any) -> Callable[..., Any]:
        loss, tmap, xp = self.loss(lib), lib.tree.map, lib.numpy

        def update(state: Any, g: Any) -> Any:
            params = state["params"]
            if self.rule == "sgd":
                return {"params": tmap(lambda p, q: p - 0.01 * q, params, g)}
            if self.rule == "momentum":
                m = tmap(lambda a, q: 0.9 * a + q, state["m"], g)
                return {"params": tmap(lambda p, a: p - 0.01 * a, params, m), "m": m}
            t = state["t"] + 1
            m = tmap(lambda a, q: 0.9 * a + 0.1 * q, state["m"], g)
            v = tmap(lambda a, q: 0.999 * a + 0.001 * q * q, state["v"], g)
            unbias = lambda decay: 1 - xp.power(np.float32(decay), t)
            scale, root = 1e-3 / unbias(0.9), unbias(0.999)
            new = tmap(lambda p, a, b: p - scale * a / (xp.sqrt(b / root) + 1e-8), params, m, v)
            return {"params": new, "m": m, "v": v, "t": t}

        def f(state: Any, x: Any, y: Any) -> Any:
            value, g = lib.value_and_grad(loss)(state["params"], x, y)
            return value, update(state, g)

        return f

    def torch(self, channels_last: bool = True, compiled: bool = False) -> Write:
        def write(data: Data) -> Prepared:
            import torch as t

            functional = t.nn.functional
            form = t.channels_last if channels_last else t.contiguous_format
            layers = arrays("torch", data["state"]["params"])
            convolutions = sum(layer["w"].ndim == 4 for layer in layers)
            first = convolutions and layers[convolutions]["w"]
            channels = convolutions and layers[convolutions - 1]["w"].shape[-1]
            for layer in layers[:convolutions]:
                layer["w"] = layer["w"].permute(3, 2, 0, 1).contiguous(memory_format=form)
            if convolutions and not channels_last:  # its rows in the order in which channels-first pixels come
                layers[convolutions]["w"] = first.reshape(-1, channels, first.shape[1]).swapaxes(0, 1).flatten(0, 1)
            flat = [p.requires_grad_() for layer in layers for p in (layer["w"], layer["b"])]
            x, y = arrays("torch", data["x"]), arrays("torch", data["y"]).long()
            x = x.permute(0, 3, 1, 2).contiguous(memory_format=form) if convolutions else x
            optimizer = {
                "sgd": lambda: t.optim.SGD(flat, lr=0.01, fused=True),
                "momentum": lambda: t.optim.SGD(flat, lr=0.01, momentum=0.9, fused=True),
                "adam": lambda: t.optim.Adam(flat, lr=1e-3, fused=True),
            }[self.rule]()

            def loss(h: Any, y: Any) -> Any:
                for i, layer in enumerate(layers):
                    if i < convolutions:
                        h = functional.max_pool2d(t.relu(functional.conv2d(h, layer["w"], layer["b"])), 2)
                        continue
                    if i == convolutions and i:
                        h = (h.permute(0, 2, 3, 1) if channels_last else h).reshape(h.shape[0], -1)
                    h = t.addmm(layer["b"], h, layer["w"])
                    h = t.relu(h) if i < len(layers) - 1 else h
                return functional.cross_entropy(h, y)

            if compiled:
                t._dynamo.reset()
                loss = t.compile(loss, dynamic=False)

            def run() -> Any:
                optimizer.zero_grad()
                value = loss(x, y)
                value.backward()
                optimizer.step()
                return value

            def show(value: Any) -> Any:
                params = [{k: v.detach() for k, v in layer.items()} for layer in layers]
                for layer in params[:convolutions]:
                    layer["w"] = layer["w"].permute(2, 3, 1, 0)
                if convolutions and not channels_last:
                    w = params[convolutions]["w"]
                    params[convolutions]["w"] = w.reshape(channels, -1, w.shape[1]).swapaxes(0, 1).flatten(0, 1)
                return value, params

            return Prepared(run, show)

        return write


def network(name: str, batch: int, net: Network) -> Step:
    def row(batch: int) -> Row:
        peers = {"torch": net.torch(), "torch:compile": net.torch(compiled=True)}
        if len(net.image) > 1:
            peers["torch:NCHW"] = net.torch(channels_last=False)
        show = lambda result: (result[0], result[1]["params"])
        return Row(
            f"{name} batch {batch}, {net.rule} step",
            lambda rng: net.data(rng, batch),
            traced(net.step, feeds_back=True, show=show) | peers,
            goals=_GOALS,
            tolerance=5e-3
            if net.rule == "adam"
            else 1e-3,  # Adam's first step is as long for a gradient of rounding errors
        )

    return Step(name, batch, row)


def mlp(sizes: tuple[int, ...], batch: int) -> Step:
    shapes = tuple(itertools.pairwise(sizes))
    return network("MLP " + "-".join(map(str, sizes)), batch, Network((sizes[0],), shapes, "sgd"))


# -------------------------------------------------------------------------- recurrence and attention


def lstm(steps: int, batch: int, inputs: int, hidden: int) -> Step:
    """The sum of squares of all hidden states and its gradient with respect to the weights."""

    def data(rng: np.random.Generator, batch: int) -> Data:
        weights = {
            "wx": f32(rng, inputs, 4 * hidden) / np.float32(np.sqrt(inputs)),
            "wh": f32(rng, hidden, 4 * hidden) / np.float32(np.sqrt(hidden)),
            "b": np.zeros(4 * hidden, np.float32),
        }
        return {"weights": weights, "x": f32(rng, steps, batch, inputs)}

    def write(lib: Any) -> Callable[..., Any]:
        xp, sigmoid = lib.numpy, lib.nn.sigmoid

        def loss(weights: Any, x: Any) -> Any:
            def cell(carry: Any, xt: Any) -> Any:
                h, s = carry
                z = xt @ weights["wx"] + h @ weights["wh"] + weights["b"]
                i, f, g, o = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
                s = sigmoid(f) * s + sigmoid(i) * xp.tanh(g)
                h = sigmoid(o) * xp.tanh(s)
                return (h, s), h

            zero = xp.zeros((x.shape[1], hidden), np.float32)
            return xp.sum(lib.lax.scan(cell, (zero, zero), x)[1] ** 2)

        return lib.value_and_grad(loss)

    def in_torch(data: Data) -> Prepared:
        import torch as t

        model = t.nn.LSTM(inputs, hidden)
        w, x = arrays("torch", data["weights"]), arrays("torch", data["x"])
        with t.no_grad():
            model.weight_ih_l0.copy_(w["wx"].T)
            model.weight_hh_l0.copy_(w["wh"].T)
            model.bias_ih_l0.zero_()
            model.bias_hh_l0.zero_()

        def run() -> Any:
            model.zero_grad()
            value = (model(x)[0] ** 2).sum()
            value.backward()
            return value

        def show(value: Any) -> Any:
            grads = {"wx": model.weight_ih_l0.grad.T, "wh": model.weight_hh_l0.grad.T, "b": model.bias_ih_l0.grad}
            return value, grads

        return Prepared(run, show)

    name = f"LSTM T{steps} in{inputs} hidden{hidden}"
    return Step(
        name,
        batch,
        lambda batch: Row(
            f"{name} batch {batch}, gradient",
            lambda rng: data(rng, batch),
            traced(write) | {"torch": in_torch},
            goals=_GOALS,
        ),
    )


def transformer(batch: int, length: int, width: int, heads: int) -> Step:
    """Attention and a feed-forward layer of four times the width, each behind a layer norm; sum of squares, gradient."""
    shapes = {"qkv": (width, 3 * width), "out": (width, width), "up": (width, 4 * width), "down": (4 * width, width)}

    def data(rng: np.random.Generator, batch: int) -> Data:
        p = {k: f32(rng, *s) / np.float32(np.sqrt(s[0])) for k, s in shapes.items()}
        return {"p": p, "x": f32(rng, batch, length, width)}

    def write(lib: Any) -> Callable[..., Any]:
        xp = lib.numpy

        def norm(x: Any) -> Any:
            x = x - x.mean(-1, keepdims=True)
            return x * lib.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)

        def loss(p: Any, x: Any) -> Any:
            batch = x.shape[0]
            qkv = (norm(x) @ p["qkv"]).reshape(batch, length, 3, heads, width // heads)
            q, k, v = (qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
            scores = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(width // heads))
            mixed = lib.nn.softmax(scores) @ v
            x = x + mixed.transpose(0, 2, 1, 3).reshape(batch, length, width) @ p["out"]
            return xp.sum((x + lib.nn.relu(norm(x) @ p["up"]) @ p["down"]) ** 2)

        return lib.value_and_grad(loss)

    def in_torch(t: Any) -> Callable[..., Any]:
        functional = t.nn.functional
        norm = lambda h: functional.layer_norm(h, (width,))

        def f(p: Any, x: Any) -> Any:
            leaves = {k: w.detach().requires_grad_() for k, w in p.items()}
            q, k, v = (norm(x) @ leaves["qkv"]).reshape(x.shape[0], length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v)
            y = x + mixed.transpose(1, 2).reshape(x.shape[0], length, width) @ leaves["out"]
            value = ((y + t.relu(norm(y) @ leaves["up"]) @ leaves["down"]) ** 2).sum()
            return value, dict(zip(leaves, t.autograd.grad(value, list(leaves.values()))))

        return f

    name = f"transformer block S{length} D{width} {heads} heads"
    return Step(
        name,
        batch,
        lambda batch: Row(
            f"{name} batch {batch}, gradient",
            lambda rng: data(rng, batch),
            traced(write) | torch(in_torch, gradient=True),
            goals=_GOALS,
        ),
    )


STEPS = [
    mlp((784, 128, 10), 32),
    mlp((784, 128, 10), 128),
    mlp((784, 512, 512, 10), 128),
    network("CNN conv32-pool-128-10", 128, Network((28, 28, 1), ((3, 3, 1, 32), (5408, 128), (128, 10)), "adam")),
    network(
        "CNN conv10-pool-conv20-pool-50-10",
        64,
        Network((28, 28, 1), ((5, 5, 1, 10), (5, 5, 10, 20), (320, 50), (50, 10)), "momentum"),
    ),
    lstm(50, 32, 64, 128),
    transformer(8, 128, 256, 8),
]

ROWS = [s.row(s.batch) for s in STEPS]
STARTS = [
    *(Start(row, warm) for warm in (False, True) for row in ROWS),
    *(NewBatch(s.row(s.batch), s.batch, s.row) for s in STEPS),
]
MEMORY = [Memory(row) for row in ROWS]
