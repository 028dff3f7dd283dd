"""How each library runs a function: its arrays, its compiler, how one waits for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .row import Data, Prepared, Write

__all__ = ["arrays", "eager", "numpy", "torch", "torch_layouts", "traced"]

Show = Callable[[Any], Any]


def _same(result: Any) -> Any:
    return result


def arrays(library: str, data: Any) -> Any:
    """A pytree of NumPy arrays as the library's own; copies, as training steps write in place."""
    if isinstance(data, dict):
        return {k: arrays(library, v) for k, v in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(arrays(library, v) for v in data)
    if not isinstance(data, (np.ndarray, np.generic)):
        return data
    if library in ("numpy", "autograd"):
        return data
    if library == "torch":
        return importlib.import_module("torch").from_numpy(np.array(data))
    return importlib.import_module(f"{library}.numpy").array(data)


def _values(library: str, data: Data) -> tuple[Any, ...]:
    return tuple(arrays(library, data).values())


def _waiting(library: str, module: Any) -> Callable[[Any], Any]:
    return module.block_until_ready if library == "jax" else _same


def traced(
    function: Callable[[Any], Callable[..., Any]], name: str = "", feeds_back: bool = False, show: Show = _same
) -> dict[str, Write]:
    """fx and JAX, compiled, from one definition ``function(fx or jax) -> f(*data)``.

    ``feeds_back``: the first argument is a state that is donated, and the last result is the next one; it goes on where the
    function is bound to other data, as in training.
    """
    return {
        library + (name and f":{name}"): _compiled(library, function, feeds_back, show) for library in ("fx", "jax")
    }  # fmt: skip


def _compiled(library: str, function: Callable[[Any], Callable[..., Any]], feeds_back: bool, show: Show) -> Write:
    def write(data: Data) -> Prepared:
        module = importlib.import_module(library)
        wait = _waiting(library, module)
        f = module.jit(function(module), **({"donate_argnums": 0} if feeds_back else {}))

        state: Any = None

        def bind(data: Data) -> Prepared:
            nonlocal state
            args = _values(library, data)
            others = args[1:]
            state = args[0] if state is None else state

            def run() -> Any:
                return wait(f(*args))

            def step() -> Any:
                nonlocal state
                result = wait(f(state, *others))
                state = result[-1]
                return result

            return Prepared(step if feeds_back else run, show, bind)

        return bind(data)

    return write


def eager(function: Callable[[Any], Callable[..., Any]], *libraries: str) -> dict[str, Write]:
    """``function(module) -> f(*data)``, called without compiling, in each library."""

    def writer(library: str) -> Write:
        def write(data: Data) -> Prepared:
            module = importlib.import_module(library)
            args, f, wait = _values(library, data), function(module), _waiting(library, module)
            return Prepared(lambda: wait(f(*args)))

        return write

    return {library: writer(library) for library in libraries}


def numpy(function: Callable[..., Any]) -> dict[str, Write]:
    return {"numpy": lambda data: Prepared(lambda: function(*data.values()))}


def torch(
    function: Callable[[Any], Callable[..., Any]],
    compiled: bool = False,
    gradient: bool = False,
    name: str = "",
    show: Show = _same,
) -> dict[str, Write]:
    """``function(torch) -> f(*data)``, eager and, if asked for, through ``torch.compile`` as a setting of its own.

    ``gradient``: autograd stays on.
    """

    def writer(compile_it: bool) -> Write:
        def write(data: Data) -> Prepared:
            module = importlib.import_module("torch")
            args, f = _values("torch", data), function(module)
            if compile_it:
                module._dynamo.reset()  # else a second shape of the same code is compiled for any shape
                f = module.compile(f, dynamic=False)

            def run() -> Any:
                with module.set_grad_enabled(gradient):
                    return f(*args)

            return Prepared(run, show)

        return write

    eager_name = "torch" + (name and f":{name}")
    return {eager_name: writer(False)} | ({"torch:compile" + name: writer(True)} if compiled else {})


def torch_layouts(
    function: Callable[[Any], Callable[..., Any]], of_weights: bool = False, turn: Show = _same, gradient: bool = False
) -> dict[str, Write]:
    """``function(torch) -> f(**tensors)``, all of them channels first (N C .., weights O I ..), in both memory layouts.

    The data are as fx and JAX take them, channels last (``x``, ``g``: N .. C; ``w``: .. I O), and so is what is compared.
    ``of_weights``: the result is laid out like the weights.  ``turn``: brings weights to the form that ``f`` wants, and back.
    """

    def first(a: Any, weights: bool) -> Any:
        n = a.ndim
        return turn(a.permute(n - 1, n - 2, *range(n - 2))) if weights else a.permute(0, n - 1, *range(1, n - 1))

    def last(a: Any) -> Any:
        n = a.ndim
        return turn(a).permute(*range(2, n), 1, 0) if of_weights else a.permute(0, *range(2, n), 1)

    def writer(channels_last: bool) -> Write:
        def write(data: Data) -> Prepared:
            module = importlib.import_module("torch")
            form = module.contiguous_format
            if channels_last and data["x"].ndim == 4:
                form = module.channels_last
            args = {k: first(v, k == "w").contiguous(memory_format=form) for k, v in arrays("torch", data).items()}
            f = function(module)

            def run() -> Any:
                with module.set_grad_enabled(gradient):
                    return f(**args)

            return Prepared(run, lambda r: [last(p) for p in (r if isinstance(r, (tuple, list)) else (r,))])

        return write

    return {"torch:NHWC": writer(True), "torch:NCHW": writer(False)}
