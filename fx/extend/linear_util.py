"""``fx.extend.linear_util``: functions that are transformed step by step, as ``fx.api_util`` and ``partial_eval`` take them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "WrappedFun",
    "transformation",
    "transformation2",
    "transformation_with_aux",
    "transformation_with_aux2",
    "wrap_init",
]


class WrappedFun:
    """A function of flat values: ``call_wrapped(*args)``."""

    def __init__(self, f: Callable[..., Any], within: WrappedFun | None = None) -> None:
        self.f: Callable[..., Any] = f if within is None else within.f
        self.call_wrapped = f

    @property
    def __name__(self) -> str:
        return str(getattr(self.f, "__name__", type(self.f).__name__))


def wrap_init(f: Callable[..., Any], params: dict[str, Any] | None = None, *, debug_info: Any = None) -> WrappedFun:
    """``f`` with keyword arguments ``params``, to be transformed."""
    return WrappedFun((lambda *args: f(*args, **params)) if params else f)


def transformation2(run: Callable[..., Any]) -> Callable[..., WrappedFun]:
    """``run(f, *params, *args)`` calls the function ``f`` as it likes; ``transformation2(run)(fun, *params)`` is ``fun`` so
    transformed."""

    def transform(fun: WrappedFun, *params: Any) -> WrappedFun:
        return WrappedFun(functools.partial(run, fun.call_wrapped, *params), fun)

    return transform


def transformation_with_aux2(run: Callable[..., Any]) -> Callable[..., tuple[WrappedFun, Callable[[], Any]]]:
    """As ``transformation2``; ``run(f, store, *params, *args)`` puts an extra result into ``store(aux)``, which the second of
    the results, called after the function, returns."""

    def transform(fun: WrappedFun, *params: Any) -> tuple[WrappedFun, Callable[[], Any]]:
        kept: list[Any] = []
        run_all = functools.partial(run, fun.call_wrapped, kept.append, *params)
        return WrappedFun(run_all, fun), lambda: kept[-1]

    return transform


def _driven(gen: Iterator[Any], f: Callable[..., Any]) -> Any:
    """Calls ``f`` with the arguments that ``gen`` yields, sends it the result, and returns what it yields then."""
    args, kwargs = next(gen)
    found = gen.send(f(*args, **kwargs))  # type: ignore[attr-defined]
    next(gen, None)
    return found


def transformation(gen: Callable[..., Iterator[Any]]) -> Callable[..., WrappedFun]:
    """Decorator of a generator ``gen(*params, *args)``, which yields ``(args, kwargs)`` for the function, gets its result and
    yields its own.

    >>> @transformation
    ... def scaled(factor, x):
    ...     out = yield (x,), {}
    ...     yield factor * out
    >>> scaled(wrap_init(lambda x: x + 1), 10).call_wrapped(2)
    30
    """
    return transformation2(lambda f, *args, **kwargs: _driven(gen(*args, **kwargs), f))


def transformation_with_aux(gen: Callable[..., Iterator[Any]]) -> Callable[..., tuple[WrappedFun, Callable[[], Any]]]:
    """As ``transformation``, of a generator whose last yield is a pair: the result, and what the second of the results returns
    (``fun, aux = transform(fun)``) when the function has been called."""

    def run(f: Callable[..., Any], store: Callable[[Any], None], *args: Any, **kwargs: Any) -> Any:
        out, aux = _driven(gen(*args, **kwargs), f)
        store(aux)
        return out

    return transformation_with_aux2(run)
