"""``fx.ref``: refs, places that hold an array, under the names of ``jax.ref``.

A function that is traced may read and write them, whether they are passed to it, made in it or of its surroundings:

>>> import fx
>>> count = fx.new_ref(fx.numpy.zeros(3))
>>> @fx.jit
... def step(x):
...     count[0] += x
...     count[1:] = count[1:] * 2 + 1
>>> step(2.0), step(3.0)
(None, None)
>>> count
Ref([5., 3., 3.], dtype=float32)

jit, vmap, grad, jvp, vjp, linearize, checkpoint and the loops and conditionals of ``fx.lax`` carry them; derivatives go through
what is written and read.  A vmapped function writes what does not depend on the batch to refs that are not batched.
"""

from __future__ import annotations

from typing import Any

from .errors import RefError
from .mutable import Indexed, Ref
from .numpy import array, zeros

__all__ = ["Ref", "RefError", "addupdate", "empty_ref", "free_ref", "freeze", "get", "new_ref", "set", "swap"]


def new_ref(init_val: Any, *, memory_space: Any = None, kind: Any = None, pin: bool = False) -> Ref:
    """A ref that holds a copy of an array; its shape and dtype stay.

    Args:
        init_val: an array or a number, which takes the dtype of its kind.
        memory_space, kind, pin: accepted for compatibility.

    >>> import fx
    >>> ref = fx.new_ref(1.0)
    >>> ref[...] += 2
    >>> ref, ref[...]
    (Ref(3., dtype=float32), Array(3., dtype=float32))
    """
    if isinstance(init_val, Ref):
        raise RefError("new_ref takes what a ref is to hold, not a ref: new_ref(ref[...])")
    held = array(init_val)
    return Ref(held.astype(held.dtype))


def empty_ref(ty: Any, *, memory_space: Any = None, pin: bool = False) -> Ref:
    """A ref of the shape and dtype of ``ty``, a ``ShapeDtypeStruct`` or an array; it holds zeros."""
    return Ref(zeros(ty.shape, ty.dtype))


def get(ref: Indexed, idx: Any = ...) -> Any:
    """``ref[idx]``."""
    return ref[... if idx is None else idx]


def set(ref: Indexed, idx: Any, value: Any) -> None:
    """``ref[idx] = value``."""
    ref[... if idx is None else idx] = value


def swap(ref: Indexed, idx: Any, value: Any) -> Any:
    """``ref[idx] = value``; returns what was there.

    >>> import fx
    >>> ref = fx.new_ref(fx.numpy.arange(3))
    >>> fx.ref.swap(ref, 1, 7), ref
    (Array(1, dtype=int32), Ref([0, 7, 2], dtype=int32))
    """
    before = get(ref, idx)
    set(ref, idx, value)
    return before


def addupdate(ref: Indexed, idx: Any, x: Any) -> None:
    """``ref[idx] += x``; where indices repeat, every value is added."""
    ref.addupdate(x, ... if idx is None else idx)


def freeze(ref: Ref) -> Any:
    """What the ref holds, at its end."""
    return ref.read()


def free_ref(ref: Ref) -> None:
    """Accepted for compatibility: its memory is given back when nobody refers to it."""
