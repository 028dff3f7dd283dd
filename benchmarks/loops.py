"""Rows with loops in them, and the models of which loops and attention are the heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .work import Row, Thunk, _jax_like, f32

__all__ = ["LOOPS"]


def _library(xp: Any) -> Any:
    """The library that a NumPy-like namespace belongs to: fx or jax."""
    import importlib

    return importlib.import_module(xp.__name__.split(".")[0])


def _loop(name: str, f: Callable[[Any, Any], Callable[..., Any]], data: Callable[[np.random.Generator], Any]) -> Row:
    """A row of fx and JAX: ``f(lax, numpy) -> function``."""
    return Row(name, data, _jax_like(lambda xp: f(_library(xp).lax, xp)), repeats=50, tags=("loop",))


def _number(rng: np.random.Generator) -> dict[str, Any]:
    return {"x": np.ones((), np.float32)}


def tiny_scan(steps: int) -> Row:
    return _loop(
        f"scan of a tiny body, {steps} steps",
        lambda lax, xp: lambda x: lax.scan(lambda c, _: (c * 0.99 + 1.0, c), x, None, length=steps),
        _number,
    )


def tiny_scan_gradient(steps: int) -> Row:
    def f(xp: Any) -> Callable[..., Any]:
        lib = _library(xp)

        def total(x: Any) -> Any:
            c, ys = lib.lax.scan(lambda c, _: (xp.sin(c) + 0.1, c), x, None, length=steps)
            return c + xp.sum(ys)

        return lambda x: lib.grad(total)(x)

    return Row(f"gradient of a tiny scan, {steps} steps", _number, _jax_like(f), repeats=50, tags=("loop",))


def recurrence(steps: int) -> Row:
    def data(rng: np.random.Generator) -> dict[str, Any]:
        return {"c": f32(rng, 8, 32), "w": f32(rng, 32, 32) / 6}

    return _loop(
        f"tanh(c @ w), 8x32 by 32x32, {steps} steps",
        lambda lax, xp: lambda c, w: lax.scan(lambda c, _: (xp.tanh(c @ w), None), c, None, length=steps)[0],
        data,
    )


def while_loop(steps: int) -> Row:
    return _loop(
        f"while_loop, {steps} iterations",
        lambda lax, xp: lambda x: lax.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, s[1] * 0.99 + 1), (0, x)),
        _number,
    )


def fori_loop(steps: int) -> Row:
    return _loop(
        f"fori_loop, {steps} iterations",
        lambda lax, xp: lambda x: lax.fori_loop(0, steps, lambda i, v: v * 0.99 + i, x),
        _number,
    )


# ------------------------------------------------------------------------------------------- models


def lstm(steps: int, batch: int, inputs: int, hidden: int) -> Row:
    """The gradient of the sum of squares of all hidden states, with respect to the weights."""

    def data(rng: np.random.Generator) -> dict[str, Any]:
        weights = {
            "wx": f32(rng, inputs, 4 * hidden) / np.float32(np.sqrt(inputs)),
            "wh": f32(rng, hidden, 4 * hidden) / np.float32(np.sqrt(hidden)),
            "b": np.zeros(4 * hidden, np.float32),
        }
        return {"weights": weights, "x": f32(rng, steps, batch, inputs)}

    def f(xp: Any) -> Callable[..., Any]:
        lib = _library(xp)
        sigmoid = lib.nn.sigmoid

        def loss(weights: Any, x: Any) -> Any:
            def cell(carry: Any, xt: Any) -> Any:
                h, s = carry
                z = xt @ weights["wx"] + h @ weights["wh"] + weights["b"]
                i, f, g, o = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
                s = sigmoid(f) * s + sigmoid(i) * xp.tanh(g)
                h = sigmoid(o) * xp.tanh(s)
                return (h, s), h

            zero = xp.zeros((batch, hidden), xp.float32)
            return xp.sum(lib.lax.scan(cell, (zero, zero), x)[1] ** 2)

        return lambda weights, x: lib.value_and_grad(loss)(weights, x)

    def torch_builder(d: dict[str, Any]) -> Thunk:
        import torch

        model = torch.nn.LSTM(inputs, hidden)
        w, x = d["weights"], torch.from_numpy(d["x"])
        with torch.no_grad():
            model.weight_ih_l0.copy_(torch.from_numpy(w["wx"].T.copy()))
            model.weight_hh_l0.copy_(torch.from_numpy(w["wh"].T.copy()))
            model.bias_ih_l0.zero_()
            model.bias_hh_l0.zero_()

        def run() -> Any:
            model.zero_grad()
            value = (model(x)[0] ** 2).sum()
            value.backward()
            return value

        return run

    name = f"LSTM T{steps} B{batch} in{inputs} hidden{hidden}, gradient"
    return Row(name, data, _jax_like(f) | {"torch": torch_builder}, tags=("step",))


def transformer(batch: int, length: int, width: int, heads: int) -> Row:
    """The gradient of one block (attention and a feed-forward layer of four times the width, each behind a layer norm)."""

    def data(rng: np.random.Generator) -> dict[str, Any]:
        shapes = {
            "qkv": (width, 3 * width),
            "out": (width, width),
            "up": (width, 4 * width),
            "down": (4 * width, width),
        }
        return {
            "p": {k: f32(rng, *s) / np.float32(np.sqrt(s[0])) for k, s in shapes.items()},
            "x": f32(rng, batch, length, width),
        }

    def f(xp: Any) -> Callable[..., Any]:
        lib = _library(xp)

        def norm(x: Any) -> Any:
            x = x - x.mean(-1, keepdims=True)
            return x * lib.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)

        def block(p: Any, x: Any) -> Any:
            qkv = (norm(x) @ p["qkv"]).reshape(batch, length, 3, heads, width // heads)
            q, k, v = (qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
            scores = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(width // heads))
            e = xp.exp(scores - scores.max(-1, keepdims=True))
            mixed = (e / e.sum(-1, keepdims=True)) @ v
            x = x + mixed.transpose(0, 2, 1, 3).reshape(batch, length, width) @ p["out"]
            return x + xp.maximum(norm(x) @ p["up"], 0) @ p["down"]

        return lambda p, x: lib.value_and_grad(lambda p, x: xp.sum(block(p, x) ** 2))(p, x)

    def torch_builder(d: dict[str, Any]) -> Thunk:
        import torch
        import torch.nn.functional as tf

        p = {k: torch.from_numpy(v).requires_grad_() for k, v in d["p"].items()}
        x = torch.from_numpy(d["x"])

        def run() -> Any:
            for v in p.values():
                v.grad = None
            norm = lambda t: tf.layer_norm(t, (width,))
            q, k, v = (norm(x) @ p["qkv"]).reshape(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            mixed = tf.scaled_dot_product_attention(q, k, v)
            y = x + mixed.transpose(1, 2).reshape(batch, length, width) @ p["out"]
            y = y + torch.relu(norm(y) @ p["up"]) @ p["down"]
            value = (y**2).sum()
            value.backward()
            return value

        return run

    name = f"transformer block B{batch} S{length} D{width} {heads} heads, gradient"
    return Row(name, data, _jax_like(f) | {"torch": torch_builder}, repeats=5, tags=("step",))


LOOPS: list[Row] = [
    tiny_scan(1000),
    tiny_scan_gradient(1000),
    recurrence(200),
    while_loop(1000),
    fori_loop(1000),
    lstm(50, 32, 64, 128),
    transformer(8, 128, 256, 8),
]
