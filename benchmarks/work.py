"""The rows: each piece of work as every library writes it.

A row has data made from a seed (the same for all), and one builder per library that returns a function without
arguments; calling it does the work once and waits for the result, which it returns as NumPy arrays' source.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Thunk = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One row of the table.  ``tolerance``: allowed relative difference between the libraries' results."""

    name: str
    data: Callable[[np.random.Generator], dict[str, Any]]
    builders: dict[str, Callable[[dict[str, Any]], Thunk]]
    tolerance: float = 1e-3
    flops: float = 0.0
    nbytes: float = 0.0
    repeats: int = 25
    tags: tuple[str, ...] = field(default=())


def f32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


# ---------------------------------------------------------------------------- one array-library function


def _jax_like(function: Callable[[Any], Callable[..., Any]]) -> dict[str, Callable[[dict[str, Any]], Thunk]]:
    """fx and JAX from one definition ``function(module) -> f(**data)``."""

    def fx_builder(data: dict[str, Any]) -> Thunk:
        import fx
        import fx.numpy as fnp

        f = fx.jit(function(fnp))
        args = {
            k: fnp.asarray(v) if isinstance(v, np.ndarray) else fx.tree.map(fnp.asarray, v) for k, v in data.items()
        }
        return lambda: f(**args)

    def jax_builder(data: dict[str, Any]) -> Thunk:
        import jax
        import jax.numpy as jnp

        f = jax.jit(function(jnp))
        args = jax.tree.map(jnp.asarray, data)
        return lambda: jax.block_until_ready(f(**args))

    return {"fx": fx_builder, "jax": jax_builder}


def _numpy(function: Callable[..., Any]) -> dict[str, Callable[[dict[str, Any]], Thunk]]:
    return {"numpy": lambda data: lambda: function(**data)}


def _torch(function: Callable[[Any], Callable[..., Any]]) -> dict[str, Callable[[dict[str, Any]], Thunk]]:
    def builder(data: dict[str, Any]) -> Thunk:
        import torch

        f = function(torch)
        args = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in data.items()}

        def run() -> Any:
            with torch.no_grad():
                return f(**args)

        return run

    return {"torch": builder}


def elementwise(n: int) -> Row:
    def f(xp: Any) -> Callable[..., Any]:
        return lambda x: xp.tanh(x) * xp.exp(-x * x) + xp.sin(x)

    return Row(
        f"tanh(x)*exp(-x*x)+sin(x), {n:.0e}".replace("e+0", "e"),
        lambda rng: {"x": f32(rng, n)},
        _jax_like(f) | _numpy(f(np)) | _torch(f),
        nbytes=8.0 * n,
    )


def softmax(rows: int, columns: int) -> Row:
    def f(xp: Any) -> Callable[..., Any]:
        def g(x: Any) -> Any:
            e = xp.exp(x - x.max(axis=-1, keepdims=True))
            return e / e.sum(axis=-1, keepdims=True)

        return g

    return Row(
        f"softmax {rows}x{columns}",
        lambda rng: {"x": f32(rng, rows, columns)},
        _jax_like(f) | _numpy(f(np)) | _torch(lambda t: lambda x: t.softmax(x, -1)),
        nbytes=8.0 * rows * columns,
    )


def total(rows: int, columns: int) -> Row:
    return Row(
        f"sum {rows}x{columns}",
        lambda rng: {"x": f32(rng, rows, columns)},
        _jax_like(lambda xp: lambda x: xp.sum(x)) | _numpy(lambda x: x.sum()) | _torch(lambda t: lambda x: x.sum()),
        nbytes=4.0 * rows * columns,
    )


def matmul(n: int) -> Row:
    return Row(
        f"matmul {n}",
        lambda rng: {"a": f32(rng, n, n), "b": f32(rng, n, n)},
        _jax_like(lambda xp: lambda a, b: a @ b) | _numpy(lambda a, b: a @ b) | _torch(lambda t: lambda a, b: a @ b),
        flops=2.0 * n**3,
    )


def sort(n: int) -> Row:
    return Row(
        f"sort {n:.0e}".replace("e+0", "e"),
        lambda rng: {"x": f32(rng, n)},
        _jax_like(lambda xp: lambda x: xp.sort(x))
        | _numpy(lambda x: np.sort(x))
        | _torch(lambda t: lambda x: t.sort(x)[0]),
        repeats=9,
    )


def cumsum(n: int) -> Row:
    return Row(
        f"cumsum {n:.0e}".replace("e+0", "e"),
        lambda rng: {"x": f32(rng, n)},
        _jax_like(lambda xp: lambda x: xp.cumsum(x))
        | _numpy(lambda x: np.cumsum(x))
        | _torch(lambda t: lambda x: t.cumsum(x, 0)),
        tolerance=1e-2,
    )


def dispatch(leaves: int) -> Row:
    def f(xp: Any) -> Callable[..., Any]:
        return lambda tree: [x + 1 for x in tree]

    return Row(
        f"jit call, {leaves} leaves",
        lambda rng: {"tree": [f32(rng, 2) for _ in range(leaves)]},
        _jax_like(f),
        repeats=200,
    )


# ------------------------------------------------------------------------------------ convolution


def conv(batch: int, channels: int, size: int, out: int, k: int) -> Row:
    def data(rng: np.random.Generator) -> dict[str, Any]:
        return {"x": f32(rng, batch, size, size, channels), "w": f32(rng, k, k, channels, out)}

    def fx_builder(d: dict[str, Any]) -> Thunk:
        import fx

        f = fx.jit(
            lambda x, w: fx.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        )
        return lambda: f(d["x"], d["w"])

    def jax_builder(d: dict[str, Any]) -> Thunk:
        import jax

        f = jax.jit(
            lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        )
        x, w = jax.device_put(d["x"]), jax.device_put(d["w"])
        return lambda: jax.block_until_ready(f(x, w))

    def torch_builder(d: dict[str, Any]) -> Thunk:
        import torch

        x = torch.from_numpy(d["x"]).permute(0, 3, 1, 2).to(memory_format=torch.channels_last)
        w = torch.from_numpy(d["w"]).permute(3, 2, 0, 1).to(memory_format=torch.channels_last)

        def run() -> Any:
            with torch.no_grad():
                return torch.nn.functional.conv2d(x, w).permute(0, 2, 3, 1)

        return run

    side = size - k + 1
    return Row(
        f"conv {k}x{k} N{batch} C{channels}->{out} {size}^2",
        data,
        {"fx": fx_builder, "jax": jax_builder, "torch": torch_builder},
        flops=2.0 * batch * side * side * k * k * channels * out,
    )


# --------------------------------------------------------------------------------- training steps


def mlp_step(sizes: tuple[int, ...], batch: int) -> Row:
    """Loss, gradient and SGD update of a relu network with cross-entropy."""

    def data(rng: np.random.Generator) -> dict[str, Any]:
        params = [
            {"w": f32(rng, a, b) / np.float32(np.sqrt(a)), "b": np.zeros(b, np.float32)}
            for a, b in itertools.pairwise(sizes)
        ]
        return {
            "params": params,
            "x": f32(rng, batch, sizes[0]),
            "y": rng.integers(0, sizes[-1], batch).astype(np.int32),
        }

    def step(xp: Any) -> Callable[..., Any]:
        import importlib

        transform = importlib.import_module("jax" if xp.__name__.startswith("jax") else "fx")

        def loss(params: Any, x: Any, y: Any) -> Any:
            for i, layer in enumerate(params):
                x = x @ layer["w"] + layer["b"]
                x = xp.maximum(x, 0) if i < len(params) - 1 else x
            x = x - x.max(axis=-1, keepdims=True)
            log_p = x - xp.log(xp.sum(xp.exp(x), axis=-1, keepdims=True))
            return -xp.mean(xp.take_along_axis(log_p, y[:, None], axis=1))

        def update(params: Any, x: Any, y: Any) -> Any:
            value, g = transform.value_and_grad(loss)(params, x, y)
            return value, transform.tree.map(lambda p, q: p - 0.1 * q, params, g)

        return update

    def torch_builder(d: dict[str, Any]) -> Thunk:
        import torch

        params = [(torch.from_numpy(p["w"]), torch.from_numpy(p["b"])) for p in d["params"]]
        x, y = torch.from_numpy(d["x"]), torch.from_numpy(d["y"]).long()

        def run() -> Any:
            leaves = [t.detach().requires_grad_() for pair in params for t in pair]
            h = x
            for i in range(0, len(leaves), 2):
                h = torch.addmm(leaves[i + 1], h, leaves[i])
                h = torch.relu(h) if i < len(leaves) - 2 else h
            value = torch.nn.functional.cross_entropy(h, y)
            value.backward()
            with torch.no_grad():
                return value, [t - 0.1 * t.grad for t in leaves]

        return run

    name = "-".join(map(str, sizes))
    return Row(f"MLP {name} batch {batch}, SGD step", data, _jax_like(step) | {"torch": torch_builder}, tags=("step",))


def cnn_step(batch: int) -> Row:
    """conv32-pool-dense128-dense10, Adam: loss, gradient, update."""

    def data(rng: np.random.Generator) -> dict[str, Any]:
        params = {
            "conv": f32(rng, 3, 3, 1, 32) / 3,
            "conv_b": np.zeros(32, np.float32),
            "w1": f32(rng, 13 * 13 * 32, 128) / np.float32(73),
            "b1": np.zeros(128, np.float32),
            "w2": f32(rng, 128, 10) / np.float32(11),
            "b2": np.zeros(10, np.float32),
        }
        zeros = {k: np.zeros_like(v) for k, v in params.items()}
        return {
            "params": params, "m": zeros, "v": {k: z.copy() for k, z in zeros.items()},
            "x": f32(rng, batch, 28, 28, 1), "y": rng.integers(0, 10, batch).astype(np.int32),
        }  # fmt: skip

    def step(xp: Any) -> Callable[..., Any]:
        import importlib

        package = "jax" if xp.__name__.startswith("jax") else "fx"
        transform, lax = importlib.import_module(package), importlib.import_module(package + ".lax")

        def loss(p: Any, x: Any, y: Any) -> Any:
            x = lax.conv_general_dilated(x, p["conv"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = xp.maximum(x + p["conv_b"], 0)
            x = lax.reduce_window(x, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            x = xp.maximum(x.reshape(x.shape[0], -1) @ p["w1"] + p["b1"], 0) @ p["w2"] + p["b2"]
            x = x - x.max(axis=-1, keepdims=True)
            log_p = x - xp.log(xp.sum(xp.exp(x), axis=-1, keepdims=True))
            return -xp.mean(xp.take_along_axis(log_p, y[:, None], axis=1))

        def update(params: Any, m: Any, v: Any, x: Any, y: Any) -> Any:
            value, g = transform.value_and_grad(loss)(params, x, y)
            tmap = transform.tree.map
            m = tmap(lambda a, b: 0.9 * a + 0.1 * b, m, g)
            v = tmap(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
            new = tmap(lambda p, a, b: p - 1e-3 * (a / 0.1) / (xp.sqrt(b / 0.001) + 1e-8), params, m, v)
            return value, new

        return update

    def torch_builder(d: dict[str, Any]) -> Thunk:
        import torch

        p = d["params"]
        conv_w = torch.from_numpy(p["conv"]).permute(3, 2, 0, 1).contiguous()
        tensors = [conv_w, *(torch.from_numpy(p[k]) for k in ("conv_b", "w1", "b1", "w2", "b2"))]
        x = torch.from_numpy(d["x"]).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        y = torch.from_numpy(d["y"]).long()
        functional = torch.nn.functional

        def run() -> Any:
            c, cb, w1, b1, w2, b2 = leaves = [t.detach().requires_grad_() for t in tensors]
            h = functional.max_pool2d(torch.relu(functional.conv2d(x, c, cb)), 2)
            h = h.permute(0, 2, 3, 1).reshape(h.shape[0], -1)
            h = torch.relu(torch.addmm(b1, h, w1))
            value = functional.cross_entropy(torch.addmm(b2, h, w2), y)
            value.backward()
            with torch.no_grad():
                new = []
                for t in leaves:
                    m, v = 0.1 * t.grad, 0.001 * t.grad * t.grad
                    new.append(t - 1e-3 * (m / 0.1) / (torch.sqrt(v / 0.001) + 1e-8))
            return value

        return run

    return Row(
        f"CNN conv32-pool-128-10 batch {batch}, Adam step",
        data,
        _jax_like(step) | {"torch": torch_builder},
        tags=("step",),
    )


ROWS: list[Row] = [
    *(elementwise(n) for n in (10**3, 10**5, 10**7)),
    softmax(128, 1000),
    softmax(4096, 1024),
    total(4096, 1024),
    *(matmul(n) for n in (64, 128, 256, 512, 1024)),
    conv(32, 1, 28, 32, 3),
    conv(32, 32, 26, 64, 3),
    conv(8, 64, 56, 64, 3),
    sort(10**6),
    cumsum(10**6),
    *(dispatch(n) for n in (1, 10, 100)),
    mlp_step((784, 128, 10), 32),
    mlp_step((784, 128, 10), 128),
    mlp_step((784, 512, 512, 10), 128),
    cnn_step(128),
]
