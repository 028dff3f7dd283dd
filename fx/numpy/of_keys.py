"""Functions that move elements and compute nothing, or compare them, take arrays of keys (``fx.random.KeyArray``) too.

Both words of the keys are moved alike.  Nothing is asked before a call fails, so arrays of numbers do not pay for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from ..traceback import shorten

__all__ = ["COMPARISONS", "LAX_MOVES", "NUMPY_MOVES", "compares_elements", "moves_elements", "provide"]

NUMPY_MOVES = (
    "append", "array", "array_split", "asarray", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays", "broadcast_to",
    "column_stack", "copy", "delete", "empty_like", "expand_dims", "flip", "fliplr", "flipud", "full_like", "hstack", "insert",
    "moveaxis", "nan_to_num", "permute_dims", "ravel", "repeat", "reshape", "roll", "rollaxis", "rot90", "select", "split", "squeeze",
    "swapaxes", "take", "take_along_axis", "tile", "transpose", "unstack", "vstack", "zeros_like",
)  # fmt: skip
COMPARISONS = ("allclose", "array_equal", "isclose")
LAX_MOVES = (
    "broadcast", "broadcast_in_dim", "collapse", "concatenate", "dynamic_index_in_dim", "dynamic_slice", "dynamic_slice_in_dim",
    "dynamic_update_index_in_dim", "dynamic_update_slice", "dynamic_update_slice_in_dim", "expand_dims", "index_in_dim", "reshape",
    "rev", "select", "select_n", "slice", "slice_in_dim", "squeeze", "transpose",
)  # fmt: skip


def provide(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Wraps the functions of a package that have these names."""
    for name in names:
        of_keys = compares_elements if name in COMPARISONS else moves_elements
        namespace[name] = of_keys(namespace[name])


def moves_elements(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, which moves elements, of arrays of keys too; errors leave it without the library's frames.

    >>> import fx
    >>> keys = fx.random.split(fx.random.key(0), 6)
    >>> fx.numpy.reshape(keys, (2, 3)).shape, fx.lax.dynamic_index_in_dim(keys, 1, keepdims=False).dtype
    ((2, 3), key<fry>)
    """

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except BaseException as e:
            kind = _kind_of_keys((*args, *kwargs.values())) if isinstance(e, TypeError) else None
            moved = None if kind is None else _moved(f, args, kwargs, kind)
            if moved is None:
                shorten(e)
                raise
        return moved

    wrapper.hides_frames = True  # type: ignore[attr-defined]
    return wrapper


def compares_elements(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, which tells whether elements are close, of arrays of keys too: these are equal or not."""

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except BaseException as e:
            kind = _kind_of_keys(args[:2]) if isinstance(e, TypeError) else None
            if kind is None or not all(isinstance(a, kind) for a in args[:2]):
                shorten(e)
                raise
        if f.__name__ == "array_equal":  # also of other shapes
            return f(args[0].word(0), args[1].word(0)) & f(args[0].word(1), args[1].word(1))
        equal = args[0] == args[1]
        return equal if f.__name__ == "isclose" else equal.all()

    wrapper.hides_frames = True  # type: ignore[attr-defined]
    return wrapper


def _kind_of_keys(args: Iterable[Any]) -> Any:
    """The class of the arrays of keys among the arguments; None if there are none."""
    flat = (x for a in args for x in (a if isinstance(a, (list, tuple)) else (a,)))
    return next((type(x) for x in flat if hasattr(type(x), "of_words")), None)


def _moved(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], kind: Any) -> Any:
    """The result for keys; None if it is no rearrangement of them."""

    def word(x: Any, i: int) -> Any:
        if isinstance(x, (list, tuple)):
            return type(x)([word(v, i) for v in x]) if _kind_of_keys(x) else x
        return x.word(i) if isinstance(x, kind) else x

    first, second = (f(*[word(a, i) for a in args], **{n: word(a, i) for n, a in kwargs.items()}) for i in range(2))
    if isinstance(first, (list, tuple)):
        return type(first)([kind.of_words(a, b) for a, b in zip(first, second, strict=True)])
    return kind.of_words(first, second)
