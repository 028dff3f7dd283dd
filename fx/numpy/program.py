"""``numpy_program``: NumPy programs that fill buffers of their own, traced as they stand."""

from __future__ import annotations

import builtins
import dis
import functools
import math
import operator
import sysconfig
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import numpy as np

from .. import tree
from ..config import config
from ..errors import SideEffectError, UnsupportedFunctionError
from ..trace import Tracer, is_library, recording_builder, state, user_source
from . import index_tricks
from .buffers import CREATORS, constant, create
from .creation import array
from .functional import vectorize
from .protocol import array_function

__all__ = ["numpy_program"]

F = TypeVar("F", bound=Callable[..., Any])

_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def numpy_program(fun: F) -> F:
    """Makes NumPy's creation functions, called by ``fun`` while it is traced, give buffers that traced values fit into.

    ``np.zeros(n)`` is a plain NumPy array, which cannot hold a traced value: ``out[i] = f(x[i])`` would lose the derivative
    and is refused.  In a NumPy program (and the functions of your own modules that it calls) ``np.zeros``, ``empty``,
    ``ones``, ``full``, ``eye``, ``arange``, ``array``, ``asarray``, ``c_`` and their kin make traced buffers, with NumPy's dtypes
    (float64, int64).  Nothing in NumPy is changed: the function runs with a stand-in for the module where its globals
    or closure hold ``numpy``.  Called outside of any transform, it is the function itself.

    The functions of ``math``, and ``max`` and ``min``, take traced values there too.  Methods of classes are not reached: decorate them.  ``np.random`` raises: it would draw once, while tracing.

    Args:
        fun: a function written with ``import numpy as np``.

    Returns:
        The function, to be given to ``fx.jit``, ``fx.grad``, ``fx.vmap``.

    Raises:
        UnsupportedFunctionError: it is no such function (a jitted one, a partial, a method of a C type).
        SideEffectError: while tracing, for ``np.random`` and for assignments to global variables.

    >>> import fx, numpy as np
    >>> @fx.numpy_program
    ... def cumulative(x):
    ...     out = np.empty(len(x))
    ...     total = 0.0
    ...     for i in range(len(x)):
    ...         total += x[i]
    ...         out[i] = total
    ...     return out
    >>> fx.jit(cumulative)(np.array([1.0, 2.0, 3.0]))
    Array([1., 3., 6.], dtype=float64)
    >>> fx.grad(lambda x: cumulative(x)[-1])(np.array([1.0, 2.0, 3.0]))
    Array([1., 1., 1.], dtype=float64)
    """

    if not isinstance(fun, FunctionType) or is_library(fun.__code__.co_filename):
        raise UnsupportedFunctionError(
            f"numpy_program takes a function written in Python; found {type(fun).__name__} {fun!r}. Decorate the function"
            " itself, and transform the program: fx.jit(fx.numpy_program(f)), or @fx.jit above @fx.numpy_program."
        )

    @functools.wraps(fun)
    def program(*args: Any, **kwargs: Any) -> Any:
        if state.current is None and not any(type(x) is Tracer for x in tree.leaves((args, kwargs))):
            return fun(*args, **kwargs)
        outside, state.constants = state.constants, True
        try:
            with config.using(default_float="float64", default_int="int64"):
                args, kwargs = _as_buffers((args, kwargs))
                return _Rewriter(fun).function(fun)(*args, **kwargs)
        finally:
            state.constants = outside

    return program  # type: ignore[return-value]


def _as_buffers(args: Any) -> Any:
    """The arguments, with NumPy arrays among them (those that are not differentiated) as buffers: the caller's stay as they are."""
    leaves, treedef = tree.flatten(args)
    builder = state.current or recording_builder(leaves)
    assert builder is not None
    return tree.unflatten(treedef, [constant(builder, x) if type(x) is np.ndarray else x for x in leaves])


# ------------------------------------------------------------------------------- the stand-in for numpy


def _creator(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(np, name))
    def make(*args: Any, **kwargs: Any) -> Any:
        builder = state.current or recording_builder(tree.leaves((args, kwargs)))
        return getattr(np, name)(*args, **kwargs) if builder is None else create(name, builder, args, kwargs)

    return make


class _ArrayType(type):
    """``np.ndarray`` in a program: a traced array is one."""

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, (np.ndarray, Tracer))


class _TracedArray(metaclass=_ArrayType):
    def __new__(cls, shape: Any, dtype: Any = float) -> Any:
        return _REPLACED["empty"](shape, dtype)


class _Bracketed:
    """An object that makes arrays of what stands in its brackets, as ``np.c_[x, y]`` does."""

    def __init__(self, name: str) -> None:
        self.numpy, self.ours = getattr(np, name), getattr(index_tricks, name)

    def __getitem__(self, key: Any) -> Any:
        items = key if isinstance(key, tuple) else (key,)
        if any(type(x) is Tracer for x in items):
            return self.ours[key]
        builder = state.current
        made = self.numpy[key]
        return made if builder is None else tree.map(lambda x: constant(builder, x), made)


_REPLACED: dict[str, Any] = {
    **{name: _creator(name) for name in CREATORS},
    **{name: _Bracketed(name) for name in ("c_", "r_", "mgrid", "ogrid")},
    "ndarray": _TracedArray,
    "vectorize": vectorize,
}
_BY_IDENTITY = {id(getattr(np, name)): new for name, new in _REPLACED.items()}


class _OfLists:
    """A function of NumPy that may be given lists of traced numbers.

    ``np.mean([x, y])`` calls nothing of x or y before it makes an array of them: NumPy asks the arguments for their way,
    not what stands in a list.
    """

    def __init__(self, func: Any) -> None:
        self.func = func
        functools.update_wrapper(self, func)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        lists = [x for x in (*args, *kwargs.values()) if type(x) in (list, tuple)]
        traced = next((x for x in tree.leaves(lists) if type(x) is Tracer), None) if lists else None
        if traced is None:
            return self.func(*args, **kwargs)
        if isinstance(self.func, np.ufunc):
            return self.func(*[array(x) if type(x) in (list, tuple) else x for x in args], **kwargs)
        return array_function(traced, self.func, (), args, kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)

    def __repr__(self) -> str:
        return repr(self.func)


_FUNCTIONS = (np.ufunc, type(np.mean))
_of_lists = functools.cache(_OfLists)  # one for each, as programs compare functions


def _seeing(value: Any) -> Any:
    return _of_lists(value) if isinstance(value, _FUNCTIONS) else value


class _Random:
    """``np.random`` in a program."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(np.random, name)
        return value if isinstance(value, type) else functools.partial(_refuse_random, name)


def _refuse_random(name: str, *_: Any, **__: Any) -> None:
    raise SideEffectError(
        f"np.random.{name} inside a traced program would draw once, while tracing, and every call would repeat those"
        " numbers. Draw them outside and hand them in, or use fx.random with a key.\n"
        f"  at {user_source()}"
    )


class _Generator:
    """A random generator of NumPy in a program."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.generator, name)
        return (
            functools.partial(_refuse_random, f"{type(self.generator).__name__}.{name}") if callable(value) else value
        )


class _Module:
    """A module of which some attributes are others."""

    def __init__(self, module: ModuleType, find: Callable[[str], Any]) -> None:
        self.__dict__.update(__wrapped__=module, __name__=module.__name__, _find=find)

    def __getattr__(self, name: str) -> Any:
        return self._find(name)

    def __dir__(self) -> list[str]:
        return dir(self.__wrapped__)


def _numpy_attribute(name: str) -> Any:
    if name in _REPLACED:
        return _REPLACED[name]
    value = getattr(np, name)
    return _stand_in_modules.get(id(value), value) if isinstance(value, ModuleType) else _seeing(value)


def _math_attribute(name: str) -> Any:
    """Functions of ``math`` and ``cmath`` take traced values too, where NumPy has them."""
    own, array = getattr(math, name), getattr(np, {"fabs": "abs"}.get(name, name), None)
    if not callable(own) or array is None:
        return own

    @functools.wraps(own)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (array if any(type(x) is Tracer for x in args) else own)(*args, **kwargs)

    return call


def _extreme(own: Callable[..., Any], better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """``max`` or ``min`` of Python, which keeps the first of the best; of traced numbers without asking for a truth value."""

    @functools.wraps(own)
    def call(*args: Any, **kwargs: Any) -> Any:
        values = args if len(args) > 1 else list(args[0])
        if kwargs or not any(type(x) is Tracer for x in values):
            return own(values, **kwargs) if values else own(*args, **kwargs)
        return functools.reduce(lambda best, x: np.where(better(x, best), x, best), values)

    return call


_PYTHON = {"max": _extreme(max, operator.gt), "min": _extreme(min, operator.lt)}
_stand_in_math = _Module(math, _math_attribute)
_stand_in_random = _Random()
_stand_in = _Module(np, _numpy_attribute)
_stand_in_modules: dict[int, Any] = {
    id(np): _stand_in,
    id(np.random): _stand_in_random,
    id(math): _stand_in_math,
    **{id(m): _Module(m, functools.partial(lambda m, name: _seeing(getattr(m, name)), m)) for m in (np.linalg, np.fft)},
}


# ------------------------------------------------------------------------------------ the functions


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions inside of it."""
    yield code
    for c in code.co_consts:
        if isinstance(c, CodeType):
            yield from _codes(c)


@functools.lru_cache(maxsize=1024)
def _globals_of(code: CodeType) -> tuple[frozenset[str], list[str]]:
    """The names that code may read from its globals, and those that it assigns to."""
    codes = list(_codes(code))
    stored = [i.argval for c in codes for i in dis.get_instructions(c) if i.opname == "STORE_GLOBAL"]
    return frozenset(name for c in codes for name in c.co_names), stored


class _Rewriter:
    """Functions of the user, with the stand-in where they reach for numpy.

    One for each call: it sees the globals as they are then.  The functions of the program's own package are the user's
    wherever they are installed.
    """

    def __init__(self, fun: Any) -> None:
        self.package = (getattr(fun, "__module__", None) or "").split(".")[0]
        self.done: dict[int, Any] = {}
        self.spaces: dict[int, dict[str, Any]] = {}
        self.builtins = {**vars(builtins), **_PYTHON, "__import__": self.imported}

    def imported(self, *args: Any, **kwargs: Any) -> Any:
        """An import statement inside of a program."""
        return self.value(builtins.__import__(*args, **kwargs))

    def is_user_s(self, module: str | None, file: str | None) -> bool:
        """True for a file of the user's own: not of another installed package, of Python, or of this library."""
        if file is None or is_library(file):
            return False
        return not file.startswith(_INSTALLED) or (module or "").split(".")[0] == self.package

    def value(self, v: Any) -> Any:
        """What stands for a value in a program."""
        if id(v) in _stand_in_modules:
            return _stand_in_modules[id(v)]
        if isinstance(v, (np.random.Generator, np.random.RandomState)):
            return _Generator(v)
        if isinstance(v, BuiltinFunctionType) and v.__module__ == "math":
            return _math_attribute(v.__name__)
        if isinstance(v, FunctionType):
            return _BY_IDENTITY.get(id(v), None) or (
                self.function(v) if self.is_user_s(v.__module__, v.__code__.co_filename) else v
            )
        if isinstance(v, ModuleType) and self.is_user_s(v.__name__, getattr(v, "__file__", None)):
            return _Module(v, lambda name: self.value(getattr(v, name)))
        return _BY_IDENTITY[id(v)] if id(v) in _BY_IDENTITY else _seeing(v)

    def function(self, f: Any) -> Any:
        """A function with its globals, closure and defaults replaced."""
        if id(f) in self.done:
            return self.done[id(f)]
        self._check_globals(f)
        cells = None if f.__closure__ is None else tuple([CellType() for _ in f.__closure__])
        new = FunctionType(f.__code__, self._globals(f), f.__name__, None, cells)
        self.done[id(f)] = new
        self._fill_globals(f)
        new.__kwdefaults__ = {k: self.value(v) for k, v in (f.__kwdefaults__ or {}).items()} or None
        new.__defaults__ = tuple([self.value(v) for v in f.__defaults__]) if f.__defaults__ else None
        for cell, old in zip(cells or (), f.__closure__ or ()):
            try:
                cell.cell_contents = self.value(old.cell_contents)
            except ValueError:  # an empty cell
                pass
        functools.update_wrapper(new, f)
        return new

    def _globals(self, f: FunctionType) -> dict[str, Any]:
        space = self.spaces.get(id(f.__globals__))
        if space is None:
            space = self.spaces[id(f.__globals__)] = {**f.__globals__, "__builtins__": self.builtins}
        return space

    def _fill_globals(self, f: FunctionType) -> None:
        space = self._globals(f)
        for name in _globals_of(f.__code__)[0]:
            if name in f.__globals__:
                space[name] = self.value(f.__globals__[name])

    def _check_globals(self, f: FunctionType) -> None:
        stored = _globals_of(f.__code__)[1]
        if stored:
            raise SideEffectError(
                f"{f.__qualname__} assigns to the global variable {stored[0]!r}, which would happen once, while tracing."
                " Return the value instead."
            )
