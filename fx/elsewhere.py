"""What PyTorch and TensorFlow call otherwise, for the messages of names that ``fx``, ``fx.random`` and arrays do not have."""

from __future__ import annotations

import sys

__all__ = ["NAMES", "RANDOM", "no_method"]

_GRADIENTS = "gradients are values: fx.grad(loss)(x)"
_HERE = "arrays are in the computer's memory"
_SEEDS = "Random numbers are drawn from explicit keys: fx.random.normal(fx.random.key(0), (3,))."

NAMES = {
    "FloatTensor": "Array", "GradientTape": "Gradients are values: fx.grad(loss)(x).", "Tensor": "Array", "Variable": "fx.numpy.array makes an array.",
    "array": "It is fx.numpy.array.", "as_tensor": "It is fx.numpy.asarray.", "cat": "It is fx.numpy.concatenate.", "compile": "It is fx.jit.", "cuda": "Arrays are in the computer's memory.",
    "device": "Arrays are in the computer's memory.", "enable_grad": "Nothing is recorded unless fx.grad asks for it.", "from_numpy": "It is fx.numpy.asarray.",
    "function": "It is fx.jit.", "inference_mode": "Nothing is recorded unless fx.grad asks for it.", "load": "It is fx.io.load.", "manual_seed": _SEEDS,
    "no_grad": "Nothing is recorded unless fx.grad asks for it.", "rand": _SEEDS, "randint": _SEEDS, "randn": _SEEDS, "save": "It is fx.io.save.", "set_num_threads": "FX_NUM_THREADS=4 in the environment says how many.",
    "tensor": "It is fx.numpy.array.", "utils": "Data sets are fx.data, clipping is fx.optim.clip_by_global_norm.",
}  # fmt: skip
"""Of what stands in ``fx``."""

RANDOM = {
    "manual_seed": "fx.random.key(seed) is a key, and every draw takes one.", "rand": "uniform", "randn": "normal", "randperm": "permutation",
    "seed": "fx.random.key(seed) is a key, and every draw takes one.", "shuffle": "permutation", "standard_normal": "normal",
}  # fmt: skip
"""Of what stands in ``fx.random``."""

_METHODS = {
    "backward": _GRADIENTS, "bmm": "it is x @ y", "bool": "it is x.astype(bool)", "chunk": "it is fx.numpy.split(x, n)", "clone": "it is x.copy()", "contiguous": "every array is as it is, to whatever reads it",
    "cpu": _HERE, "cuda": _HERE, "detach": "it is fx.stop_gradient(x), where a derivative is not to pass", "dim": "it is x.ndim", "double": "it is x.astype('float64')",
    "eq": "it is x == y", "expand": "it is fx.numpy.broadcast_to(x, shape)", "expand_as": "it is fx.numpy.broadcast_to(x, y.shape)", "float": "it is x.astype('float32')",
    "gather": "it is fx.numpy.take_along_axis(x, indices, axis)", "ge": "it is x >= y", "get_shape": "it is x.shape", "grad": _GRADIENTS, "gt": "it is x > y", "half": "it is x.astype('float16')",
    "index_add": "it is x.at[i].add(v)", "index_select": "it is x.take(indices, axis)", "int": "it is x.astype('int32')", "le": "it is x <= y", "long": "it is x.astype('int64')", "lt": "it is x < y",
    "masked_fill": "it is fx.numpy.where(mask, value, x)", "mm": "it is x @ y", "mul": "it is x * y", "norm": "it is fx.numpy.linalg.norm(x)", "numel": "it is x.size", "numpy": "it is numpy.asarray(x)",
    "permute": "it is x.transpose(0, 2, 1), with the axes in their new order", "pow": "it is x ** n", "requires_grad": _GRADIENTS, "scatter": "it is x.at[i].set(v)", "scatter_add": "it is x.at[i].add(v)",
    "sub": "it is x - y", "topk": "it is fx.lax.top_k(x, k)", "type": "it is x.astype(dtype)", "unbind": "it is a loop: for row in x", "unsqueeze": "it is fx.numpy.expand_dims(x, axis), or x[:, None]",
}  # fmt: skip


def no_method(what: str, name: str) -> str:
    """What is said of an attribute that an array does not have.

    >>> no_method("an array", "unsqueeze")
    "an array has no attribute 'unsqueeze': it is fx.numpy.expand_dims(x, axis), or x[:, None]"
    """
    return f"{what} has no attribute {name!r}" + (f": {told}" if (told := _told(name)) else "")


def _told(name: str) -> str:
    if name in _METHODS or name.startswith("_"):
        return _METHODS.get(name, "")
    if name.endswith("_"):
        return "arrays do not change: x = x + y, x = x.at[i].set(v)"
    homes = [
        m for m in ("numpy", "nn", "lax") if callable(getattr(sys.modules.get(f"fx.{m}"), "__dict__", {}).get(name))
    ]
    return f"it is fx.{homes[0]}.{name}(x)" if homes else ""
