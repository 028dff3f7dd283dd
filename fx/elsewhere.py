"""What PyTorch and TensorFlow call otherwise, for the messages of names that ``fx``, ``fx.numpy``, ``fx.random`` and arrays do not have."""

from __future__ import annotations

import sys

__all__ = ["NAMES", "RANDOM", "no_function", "no_method"]

_GRADIENTS = "gradients are values: fx.grad(loss)(x)"
_HERE = "arrays are in the computer's memory"
_SEEDS = "Random numbers are drawn from explicit keys: fx.random.normal(fx.random.key(0), (3,))."

NAMES = {
    **{name: f"It is fx.nn.{name}." for name in ("Module", "Sequential", "log_softmax", "logsumexp", "relu", "sigmoid", "softmax")},
    **{name: f"It is fx.random.{name}(key, ...)." for name in ("bernoulli", "normal", "poisson")},
    "distributions": "Densities are fx.scipy.stats, draws fx.random.", "flatten": "It is x.ravel().", "func": "fx.vmap, fx.grad, fx.jacrev and the others stand in fx itself.",
    "linalg": "It is fx.numpy.linalg.", "set_default_dtype": "It is fx.config.default_float = 'float64'.", "special": "It is fx.scipy.special.",
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
    "addmm": "it is b + x @ y", "backward": _GRADIENTS, "bmm": "it is x @ y", "bool": "it is x.astype(bool)", "cdist": "nn.pairwise_distance(x[:, None], y) are the distances of all pairs", "chunk": "it is fx.numpy.split(x, n)", "clamp": "it is x.clip(low, high)", "clone": "it is x.copy()", "contiguous": "every array is as it is, to whatever reads it",
    "cpu": _HERE, "cuda": _HERE, "detach": "it is fx.stop_gradient(x), where a derivative is not to pass", "dim": "it is x.ndim", "double": "it is x.astype('float64')",
    "div": "it is x / y", "element_size": "it is x.itemsize", "eq": "it is x == y", "expand": "it is fx.numpy.broadcast_to(x, shape)", "expand_as": "it is fx.numpy.broadcast_to(x, y.shape)", "float": "it is x.astype('float32')",
    "gather": "it is fx.numpy.take_along_axis(x, indices, axis)", "ge": "it is x >= y", "get_shape": "it is x.shape", "grad": _GRADIENTS, "gt": "it is x > y", "half": "it is x.astype('float16')",
    "index_add": "it is x.at[i].add(v)", "index_select": "it is x.take(indices, axis)", "int": "it is x.astype('int32')", "le": "it is x <= y", "lerp": "it is x + weight * (y - x)", "long": "it is x.astype('int64')", "lt": "it is x < y",
    "masked_fill": "it is fx.numpy.where(mask, value, x)",
    "masked_select": "it is x[mask]", "mm": "it is x @ y", "movedim": "it is fx.numpy.moveaxis(x, source, destination)", "mul": "it is x * y", "multinomial": "it is fx.random.categorical(key, fx.numpy.log(p), shape=(n,))", "narrow": "it is fx.lax.slice_in_dim(x, start, start + length, axis=axis)",
    "ne": "it is x != y", "new_zeros": "it is fx.numpy.zeros(shape, x.dtype)", "norm": "it is fx.numpy.linalg.norm(x)", "numel": "it is x.size", "numpy": "it is numpy.asarray(x)",
    "permute": "it is x.transpose(0, 2, 1), with the axes in their new order", "pow": "it is x ** n", "rand_like": _SEEDS, "randn_like": _SEEDS, "repeat_interleave": "it is fx.numpy.repeat(x, n, axis)", "requires_grad": _GRADIENTS, "scatter": "it is x.at[i].set(v)", "scatter_add": "it is x.at[i].add(v)",
    "sub": "it is x - y", "t": "it is x.T", "to": "it is x.astype(dtype)", "topk": "it is fx.lax.top_k(x, k)", "type": "it is x.astype(dtype)", "type_as": "it is x.astype(y.dtype)", "unbind": "it is a loop: for row in x", "unsqueeze": "it is fx.numpy.expand_dims(x, axis), or x[:, None]",
    "view_as": "it is x.reshape(y.shape)",
}  # fmt: skip

_ROOMS = ("numpy", "nn", "lax", "scipy.special", "numpy.linalg", "random")


def no_method(what: str, name: str) -> str:
    """What is said of an attribute that an array does not have.

    >>> no_method("an array", "unsqueeze")
    "an array has no attribute 'unsqueeze': it is fx.numpy.expand_dims(x, axis), or x[:, None]"
    """
    return f"{what} has no attribute {name!r}" + (f": {told}" if (told := _told(name)) else "")


def no_function(name: str) -> str:
    """What is said of a name that ``fx`` or ``fx.numpy`` does not have: what is written instead, or where it is.

    >>> import fx.lax
    >>> no_function("clamp"), no_function("rsqrt"), no_function("nothing")
    ('It is x.clip(low, high).', 'It is fx.lax.rsqrt.', '')
    """
    told = NAMES.get(name) or _METHODS.get(name, "")
    if not told and (home := _home(name)):
        told = f"It is {home}"
    return told if told.isidentifier() else f"{told[:1].upper()}{told[1:].removesuffix('.')}." * bool(told)


def _told(name: str) -> str:
    if name in _METHODS or name.startswith("_"):
        return _METHODS.get(name, "")
    if name.endswith("_"):
        return "arrays do not change: x = x + y, x = x.at[i].set(v)"
    return f"it is {home}(x)" if (home := _home(name)) else ""


def _home(name: str) -> str:
    """Where, among the rooms that are in use, a function of this name is."""
    rooms = [(room, getattr(sys.modules.get(f"fx.{room}"), "__dict__", {}).get(name)) for room in _ROOMS]
    return next((f"fx.{room}.{name}" for room, found in rooms if callable(found)), "")
