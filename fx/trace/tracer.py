"""The value that stands for a variable of a graph under construction."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import ref

import numpy as np

from ..callsite import (
    array_function_for,
    called_library_function,
    called_math_function,
    own_function_for,
    stores_an_item,
)
from ..dtypes import is_inexact
from ..elsewhere import no_method
from ..errors import ConcretizationError, DTypeError, FxError, ItemAssignmentError, SideEffectError
from ..ir import Aval, Var
from ..traceback import shorten
from .source import source_of, user_source
from .thread_state import state

if TYPE_CHECKING:
    from .builder import Builder

__all__ = ["Tracer", "raise_concretization"]

_CONTENTS = frozenset(("builder", "variable", "value"))
WAY_OUT_BRANCH = "Use fx.numpy.where(condition, a, b) or fx.lax.cond for a branch that depends on the value"
WAY_OUT_NUMBER = "Keep it an array (x.astype(...) converts)"
WAY_OUT_INDEX = (
    "Shapes, ranges and slice bounds must be known while tracing: use fx.lax.dynamic_slice or fx.lax.fori_loop"
)
WAY_OUT_KEY = "A program cannot look anything up by a value that it has not computed yet"
WAY_OUT_NUMPY = (
    "np.array, np.asarray and other functions that NumPy does not let us see work in a function decorated with"
    " @fx.numpy_program, and the functions of the same names in fx.numpy and fx.scipy work everywhere (of a list of traced"
    " values, np.stack does too)"
)


class Tracer:
    """Stands for a variable of a graph that is being built.

    ``value`` is its NumPy value where the builder evaluates, else None.  Arithmetic and methods are installed
    by ``fx.numpy``.  ``x[i] = v`` on a tracer is functionalised: the tracer is rebound to the changed array, and so is
    every view of it (``fx.storage``).

    home: the builder whose function was running when the tracer was made.
    view_of: how it reads and writes the array that it is a view of, if it is one.  After a write to that array its
        ``builder``, ``variable`` and ``value`` are empty until someone asks for them.
    views: weak references to the views of this array.
    """

    __slots__ = ("__weakref__", "builder", "home", "value", "variable", "view_of", "views")
    __array_priority__ = 200
    stands_for_array = True  # to ``isinstance(x, Array)``

    def __init__(self, builder: Builder, var: Var, value: np.ndarray | None) -> None:
        self.builder = builder
        self.variable = var
        self.value = value
        self.home: Builder | None = state.current
        self.view_of: Any = None
        self.views: list[ref[Tracer]] | None = None

    def __delitem__(self, index: Any) -> NoReturn:
        raise ItemAssignmentError(
            f"del x[index] of a traced {self.aval} is not possible; fx.numpy.delete makes a copy without."
        )

    def __getattr__(self, name: str) -> Any:
        """Only reached where an attribute is missing: a view whose array was written to reads it anew."""
        if name in _CONTENTS and self.view_of is not None:
            self._refresh()
            return getattr(self, name)
        raise AttributeError(no_method("a traced array", name), name=name, obj=self)

    def _refresh(self) -> None:
        """Reads a view anew, where its array and the view itself live: not inside a function that merely looks at it."""
        base = self.view_of.base
        level = max(base.builder.level, 0 if self.home is None else self.home.level)
        absorbing = state.absorbing
        state.absorbing = [b for b in absorbing if b.level <= level]
        try:
            self.rebind(self.view_of.read(base))
        finally:
            state.absorbing = absorbing

    @property
    def aval(self) -> Aval:
        return self.variable.aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.variable.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.variable.aval.shape)

    @property
    def size(self) -> int:
        return self.variable.aval.size

    @property
    def nbytes(self) -> int:
        return self.variable.aval.nbytes

    @property
    def itemsize(self) -> int:
        return self.variable.aval.dtype.itemsize

    @property
    def weak_type(self) -> bool:
        return self.variable.aval.weak

    @property
    def _trace(self) -> Builder:
        """JAX's name of ``builder``."""
        return self.builder

    @property
    def is_active(self) -> bool:
        """True if it may depend on an input that a derivative is taken of."""
        return self.builder.active is not None and self.variable in self.builder.active

    def alias(self) -> Tracer:
        """Another tracer of the same variable: an in-place update of one does not show in the other."""
        return Tracer(self.builder, self.variable, self.value)

    def __copy__(self) -> Tracer:
        return self.alias()

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self.alias()

    def rebind(self, new: Tracer) -> None:
        """Makes this tracer stand for another variable (in-place updates, functionalised)."""
        self.builder, self.variable, self.value = new.builder, new.variable, new.value

    def _number(self, what: str, way_out: str) -> np.ndarray:
        try:
            self.builder.check_open(self)
            if self.value is not None:
                return self.value
            raise_concretization(self, what, way_out)
        except FxError as e:
            shorten(e)
            raise

    def _check_keeps_derivative(self, caller: FrameType) -> None:
        """Refuses what asks for a number and would silently lose the derivative: ``buffer[i] = x`` with a plain NumPy
        buffer, and ``math.sin(x)`` of what is differentiated.  (``float(x)`` is meant.)"""
        if stores_an_item(caller):
            raise SideEffectError(
                f"a traced {self.aval} was written into a plain NumPy array, which cannot hold it: its derivative would be"
                f" lost. Decorate the function with @fx.numpy_program, make the buffer from a traced array (np.zeros_like(x),"
                f" np.zeros(n, like=x)), or stack the values.\n"
                f"  at {user_source()}"
            )
        name = called_math_function(caller) if self.value is not None and self.is_active else None
        if name is not None:
            raise ConcretizationError(
                f"{name} was called on a traced {self.aval} that {self.builder.kind} of {self.builder.name!r} differentiates."
                f" It computes with the plain number, so its derivative would silently be lost. Use {array_function_for(name)};"
                f" where only the number is wanted, say so: {name}(float(x)).\n  at {user_source()}"
            )

    def _plain_number(self, what: str) -> Any:
        """The number that ``float(x)`` or ``complex(x)`` asks for, unless NumPy's or SciPy's C code asks by itself, as
        ``scipy.integrate.quad`` does of what the integrand returns: that would silently lose the derivative."""
        caller = sys._getframe(2)
        self._check_keeps_derivative(caller)
        in_a_rule = self.builder.kind in ("custom_jvp", "custom_vjp")
        through = None if self.value is None or not self.is_active or in_a_rule else called_library_function(caller)
        if through is not None:
            name, user = through
            raise ConcretizationError(
                f"{name} took the plain number of a traced {self.aval} that {self.builder.kind} of {self.builder.name!r}"
                f" differentiates, so its derivative would silently be lost. {own_function_for(name)}; where only the number is"
                f" wanted, say so: float(x).\n  at {source_of(user)}"
            )
        return self._number(what, WAY_OUT_NUMBER)

    def __bool__(self) -> bool:
        return bool(self._number("the truth value", WAY_OUT_BRANCH))

    def __int__(self) -> int:
        return int(self._number("an int", WAY_OUT_NUMBER))

    def __float__(self) -> float:
        return float(self._plain_number("a float"))

    def __complex__(self) -> complex:
        return complex(self._plain_number("a complex number"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.shape:
            raise DTypeError(f"only an integer scalar can be an index; this is {self.aval}")
        return int(self._number("an index (or the end of a range)", WAY_OUT_INDEX))

    def __hash__(self) -> int:
        if self.value is None:
            raise_concretization(self, "the hash (the key of a dict, an element of a set)", WAY_OUT_KEY)
        raise TypeError("unhashable type: a traced array. For the number itself: float(x), int(x).")

    def __reduce__(self) -> NoReturn:
        raise SideEffectError(
            f"a traced {self.aval} cannot be pickled: it stands for a value of the program that {self.builder.kind} traces."
            " Return it from the function, and pickle the result."
        )

    def item(self, *args: int) -> Any:
        return self._number("a Python number", WAY_OUT_INDEX if self.dtype.kind in "iu" else WAY_OUT_NUMBER).item(*args)

    def tolist(self) -> Any:
        return self._number("a list of Python numbers", WAY_OUT_NUMBER).tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        safe = not is_inexact(self.dtype) or self.builder.kind in ("custom_jvp", "custom_vjp")
        if self.value is not None and safe:  # as ``int(x)``: there is no derivative to be lost, or it is a rule
            return np.array(self._number("a NumPy array", WAY_OUT_NUMPY), dtype)
        caller = sys._getframe(1)
        self._check_keeps_derivative(caller)
        found = called_library_function(caller)
        if found is not None:
            self.builder.check_open(self)
            name, user = found
            raise ConcretizationError(
                f"{name} cannot be traced: it makes a plain NumPy array of a traced {self.aval} ({self.builder.kind} of"
                f" {self.builder.name!r}). {own_function_for(name)}.\n"
                f"  at {source_of(user)}"
            )
        value = self._number("a NumPy array", WAY_OUT_NUMPY)
        raise ConcretizationError(
            f"a traced value of type {self.aval} was turned into a plain NumPy array"
            f"{'' if value is None else ' (through np.asarray or a function that NumPy does not let us see)'}:"
            f" its derivative would silently be lost. {WAY_OUT_NUMPY}."
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d array has no len()")
        return self.shape[0]

    def __format__(self, spec: str) -> str:
        return format(self.value[()], spec) if self.value is not None and not self.shape else repr(self)

    def __repr__(self) -> str:
        value = f", value={self.value}" if self.value is not None and self.size <= 8 else ""
        return f"Tracer<{self.aval} of {self.builder.kind} {self.builder.name}{value}>"

    def block_until_ready(self) -> Tracer:
        return self


def raise_concretization(t: Tracer, what: str, way_out: str) -> NoReturn:
    """Raises ConcretizationError: Python asked for ``what`` of a traced value that is not known."""
    b = t.builder
    static = " A Python value that rarely changes may be an argument named in jit's static_argnums."
    is_loop = b.kind in ("vmap", "scan", "while_loop", "fori_loop", "cond", "switch")  # its values are never Python's
    raise ConcretizationError(
        f"Python asked for {what} of a traced {t.aval}, whose value is not known while {b.kind} traces"
        f" {b.name!r}. {b.origin(t.variable)} {way_out}.{'' if is_loop else static}"
    )
