"""One operation at once, in native code: from arrays of the library to an array of the library.

A NumPy function on three elements takes a third of a microsecond; looking at operands in Python, turning warnings off and
wrapping the result take three times as long again.  ``Eager`` does that in a tenth:

* ``operation(function, fallback, n, dtypes)`` says how a NumPy function is applied to ``n`` arrays of one dtype out of a set, or to
  one and a Python number;
* ``install(cls, slots)`` puts such operations where CPython looks for the operators of a class, so that ``x + y`` is one call
  of C; ``callable`` makes the instances of a class call theirs; ``indexable`` does ``x[i]``;
* ``wrapper(weak)`` makes an array object of a result, ``launcher`` those of a whole program.

The class of the arrays is told, as this package knows nothing of it: its slots are found by putting an object in and looking
where it lies.  Whatever is not expected - another type, a dtype, an open trace, shapes that do not fit - is handed to the
fallback with the same arguments.
"""

from __future__ import annotations

import contextvars
import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from fx.errors import BackendError

from ..executable import Executable
from .builtins import HEAD, address_in_python, bind, compile_text, define, layout_is_known
from .eager_text import BINARY, C_FUNCTIONS, COMPARE, ENTRIES, SLOTS, UNARY, VECTORCALL, WORDS, eager_text
from .launch import LAUNCH_TEXT, Leaf, launcher
from .results import new_from_descr
from .slots import fill, kind_of

__all__ = ["Eager", "Operation"]

_COMMON = [np.dtype(name) for name in ("f4", "f8", "i4", "i8", "?")]  # looked for first
_LARGE_ENOUGH = "i4 i8 f4 f8 c8 c16".split()  # to hold any Python number that is put beside an array natively


class Operation(np.ndarray):
    """The words by which native code knows an operation; ``objects`` are those that they name."""

    objects: Any


class Eager:
    """Operations on one class of arrays.

    Args:
        array_type: the class; it has the slots ``buffer`` (an ndarray), ``weak`` and ``owned`` (bools), by these names.
        alert: a list; while it is not empty every call goes to the fallback.
        context: where NumPy's warnings are off.

    Raises:
        BackendError: objects are laid out in another way here.
    """

    def __init__(
        self, array_type: type, slots: Sequence[str], alert: list[Any], context: contextvars.Context
    ) -> None:  # fmt: skip
        new_array = new_from_descr()
        if not layout_is_known() or not new_array or type(alert) is not list:
            raise BackendError("where this interpreter keeps the fields of objects is not known")
        for name in SLOTS:
            kind_of(f"__{name}__")
        as_array = np.asarray
        self._objects = (array_type, alert, context, as_array)
        offsets = [slot_offset(array_type, name) for name in slots]
        functions = [address_in_python(name) for name in (VECTORCALL, *C_FUNCTIONS)]
        self._words = [
            id(array_type), id(np.ndarray), id(np.ndarray), *offsets, id(alert), id(True), id(False), id(None), id(np.dtype(bool)), id(as_array),
            id(context), id(int), id(float), id(slice), id(tuple), id(...), new_array, *functions,
        ]  # fmt: skip
        self._entries = dict(zip(ENTRIES, compile_text(eager_text() + LAUNCH_TEXT, "eager", *ENTRIES)))
        table = ctypes.PYFUNCTYPE(ctypes.c_void_p)(self._entries["fx_slots"])()
        self._slots = (ctypes.c_void_p * len(SLOTS)).from_address(table)
        self._in_slots: dict[str, Operation] = {}
        self._made: list[Operation] = []
        doc = "wrap(ndarray)\n--\n\nAn array object around a result that nobody else has."
        self._wrap = {
            weak: define("wrap", self._entries[entry], doc)
            for weak, entry in ((False, "fx_wrap_strong"), (True, "fx_wrap_weak"))
        }

    def operation(
        self, function: Any, fallback: Callable[..., Any] | None, n: int, dtypes: Iterable[np.dtype]
    ) -> Operation:
        """``function`` of ``n`` arrays of one of the dtypes; everything else goes to ``fallback``."""
        kinds = sorted(dtypes, key=_rarity)
        beside = [d for d in map(np.dtype, _LARGE_ENOUGH) if d in kinds and type(function) is np.ufunc]
        inexact = [d for d in beside if d.kind in "fc"]
        return self._specified((function, fallback), n, kinds, beside, inexact)

    def _specified(
        self,
        callables: tuple[Any, Any],
        n: int,
        dtypes: Sequence[np.dtype],
        ints: Sequence[Any],
        floats: Sequence[Any],
        operands: bool = True,
    ) -> Operation:
        """A specification.  ``take_plain`` reaches those with ``operands``, which stay; others end with who calls them."""
        words = [*self._words, *map(id, callables), n, len(dtypes), len(ints), len(floats), *map(id, dtypes)]
        words += [x if isinstance(x, int) else id(x) for x in (*ints, *floats)]
        made = np.array(words, np.int64).view(Operation)
        made.objects = (self._objects, callables, dtypes, ints, floats)
        if operands:
            self._made.append(made)
        return made

    def take_plain(self, take: bool) -> None:
        """Whether ndarrays are operands of operations as arrays are; if not, they are left to the fallbacks."""
        at = WORDS.index("plain")
        tables: list[Any] = [self._words, *self._made]
        for words in tables:
            words[at] = id(np.ndarray) if take else 0

    def install(self, cls: type, operations: Mapping[str, Operation]) -> None:
        """Makes operators of a class do what the operations do: ``{"add": operation, ...}`` with names of ``calls.eager_text.SLOTS``.

        A binary one is called for ``x + y`` and, where ``x`` does not know how, also for an ``x`` of another type: its fallback
        gets the operands in the order in which they are written, and may return NotImplemented.
        """
        functions: dict[str, int] = {}
        for name, operation in operations.items():
            self._put(name, operation)
            if name in COMPARE:
                functions[f"__{name}__"] = self._entries["fx_compare"]
            elif name in (*BINARY, *UNARY):
                functions[f"__{name}__"] = self._entries[f"fx_{name}"]
                if name in BINARY:
                    functions[f"__r{name}__"] = self._entries[f"fx_{name}"]
        fill(cls, functions)

    def indexable(self, cls: type, fallback: Callable[[Any, Any], Any], dtypes: Iterable[np.dtype]) -> None:
        """``x[i]`` of static indices, for arrays of the dtypes."""
        kinds = sorted(dtypes, key=_rarity)
        self._put("getitem", self._specified((None, fallback), 2, kinds, [d.itemsize for d in kinds], ()))
        fill(cls, {"__getitem__": self._entries["fx_getitem"]})

    def callable(self, cls: type, slot: str, fallback: Callable[[Any, tuple[Any, ...], Any], Any]) -> None:
        """Calling an instance of a class does the operation in a slot of it.

        Args:
            fallback: ``(instance, args, options or None) -> result``, for calls with options, another number of operands, or
                while the slot is empty.
        """
        self._put("call", self._specified((None, fallback), slot_offset(cls, slot), (), (), ()))
        fill(cls, {"__call__": self._entries["fx_call"]})

    def _put(self, name: str, operation: Operation) -> None:
        """The place is read by native code from now on; what was there stays, as a call may be on its way."""
        self._in_slots[f"{name} {len(self._in_slots)}"] = operation
        self._slots[SLOTS.index(name)] = operation.ctypes.data

    def wrapper(self, weak: bool) -> Callable[[np.ndarray], Any]:
        """The function that makes an array object, which owns its memory, of an ndarray."""
        return bind(self._wrap[weak], self._specified((None, None), 1, (), (), (), operands=False))

    def launcher(
        self, executable: Executable, weak_arguments: Sequence[bool | None], fixed: Sequence[np.ndarray], weak: Sequence[bool],
        given: Sequence[int] = (),
    ) -> Callable[..., Any] | None:  # fmt: skip
        """``launch(*arguments)``: a compiled program from arrays to arrays (``jit.calls.launch``); None where it cannot be had.

        Args:
            weak_arguments: for each argument whether it is a weak array, or None for an ndarray.
            fixed: the program's inputs behind them.
            weak: for each result, whether it is weak.
            given: the arguments that the program may overwrite.
        """
        leaves = [Leaf.NDARRAY if w is None else Leaf.WEAK if w else Leaf.STRONG for w in weak_arguments]
        words = [*self._words, *[0] * (len(WORDS) - len(self._words))]
        return launcher(words, self._entries["fx_launch"], executable, leaves, fixed, weak, given, self._objects)


def _rarity(d: np.dtype) -> int:
    return _COMMON.index(d) if d in _COMMON else len(_COMMON)


def slot_offset(cls: type, name: str) -> int:
    """Where the instances of a class keep a slot: an object is put there, and looked for.

    Raises:
        BackendError: it cannot be told.
    """
    instance, mark = cast(Any, cls).__new__(cls), object()
    setattr(instance, name, mark)
    words = (ctypes.c_int64 * ((cls.__basicsize__ - HEAD) // 8)).from_address(id(instance) + HEAD)
    found = [HEAD + 8 * k for k, word in enumerate(words) if word == id(mark)]
    if len(found) != 1:
        raise BackendError(f"where instances of {cls.__name__} keep {name!r} is not known")
    return found[0]
