"""NumPy as the front end: NumPy's own functions called on our arrays and tracers arrive here.

``np.sin(x)`` of a tracer calls ``x.__array_ufunc__``, ``np.sum(x)`` calls ``x.__array_function__``; both look up the
function of the same name in ``fx.numpy``.  What is not there raises on a traced value, naming itself and the way
out: nothing is computed behind the tracer's back.  Where all arrays are known, NumPy computes it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import numpy as np

from .. import tree
from ..array import Array, to_numpy
from ..config import config
from ..errors import (
    ArgumentError,
    FxError,
    SideEffectError,
    UnsupportedFunctionError,
)
from ..signatures import position_of, signature_of
from ..storage import strided
from ..trace import Tracer, recording_builder
from ..traceback import shorten, user_frames
from . import selection, views
from .buffers import CREATORS, create
from .core import as_typed
from .creation import zeros_like
from .ufunc_class import Ufunc

__all__ = ["array_function", "array_ufunc", "honouring_out", "namespace", "provide"]

_spaces: dict[str, Any] = {}


def provide(name: str, module: ModuleType) -> None:
    """Makes the functions of a module stand in for those of a NumPy namespace ("numpy", "numpy.linalg", "scipy.special")."""
    _spaces[name] = module


def namespace(self: Any, *, api_version: str | None = None) -> Any:
    """``__array_namespace__``: the module of functions on these arrays."""
    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ArgumentError(f"the array API version {api_version!r} is not known here; 2024.12 is")
    return _spaces["numpy"]


# functions whose name differs here
_ALIASES = {"row_stack": "vstack", "in1d": "isin", "trapz": "trapezoid", "psi": "digamma"}


def _find(space: str, name: str) -> Any:
    """The function that stands in for ``space.name``, or None."""
    f = getattr(_spaces.get(space), _ALIASES.get(name, name), None)
    return f if callable(f) and not isinstance(f, type) else None


def _find_ufunc(ufunc: np.ufunc) -> Any:
    """The function that stands in for a ufunc of NumPy, or of ``scipy.special``."""
    f = _find("numpy", ufunc.__name__)
    if f is None and getattr(np, ufunc.__name__, None) is None:
        if "scipy.special" not in _spaces:  # it stands above this package, and is loaded when it is first asked for
            provide("scipy.special", importlib.import_module("fx.scipy.special"))
        f = _find("scipy.special", ufunc.__name__)
    return f


def _space_of(func: Any) -> str:
    """The namespace whose function ``func`` is: ``np.emath.sqrt`` is not ``np.sqrt``, nor ``np.linalg.diagonal`` ``np.diagonal``."""
    if getattr(np, func.__name__, None) is func or func.__name__ in _ALIASES:
        return "numpy"
    return func.__module__ or ""


# functions of types, shapes and memory alone
_STATIC = frozenset(
    (
        "can_cast",
        "common_type",
        "min_scalar_type",
        "isfortran",
        "iscomplexobj",
        "isrealobj",
        "result_type",
        "byte_bounds",
    )
)


def _of_types(func: Any, args: Any, kwargs: Any) -> Any:
    """A function of types alone, on arrays without contents."""
    leaves, treedef = tree.flatten((args, kwargs))
    leaves = [strided(x) if type(x) is Tracer else np.asarray(x) if type(x) is Array else x for x in leaves]
    args, kwargs = tree.unflatten(treedef, leaves)
    return func(*args, **kwargs)


def _shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """``np.may_share_memory``: True for two arrays that are views of one."""
    roots = [x.view_of.root if type(x) is Tracer and x.view_of is not None else x for x in (a, b)]
    return roots[0] is roots[1]


def _unsupported(what: str) -> UnsupportedFunctionError:
    return UnsupportedFunctionError(
        f"{what} cannot be traced: fx has no such function. Compose it from functions that fx.numpy has"
        " (dir(fx.numpy)), call it on known arrays outside the traced function, or wrap it with fx.pure_callback."
    )


def _by_numpy(f: Callable[..., Any], what: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """NumPy's own function on known arrays."""
    leaves, treedef = tree.flatten((args, kwargs))
    if any(type(x) is Tracer for x in leaves):
        raise _unsupported(what)
    args, kwargs = tree.unflatten(treedef, [np.asarray(x) if type(x) is Array else x for x in leaves])
    return f(*args, **kwargs)


# ------------------------------------------------------------------------------------ writing in place


def _assign(target: Any, value: Any, what: str, casting: str = "same_kind") -> None:
    """Writes a result into an array that a NumPy function changes in place: a tracer stands for the new value from here on.

    Raises:
        SideEffectError: the target cannot hold it.
    """
    if type(target) is Tracer:
        views.assign(target, value, what, casting)
    elif isinstance(target, np.ndarray) and type(value) is Array:
        np.copyto(target, value._data, casting=casting)  # type: ignore[arg-type]
    elif type(target) is Array:
        raise SideEffectError(
            f"{what} writes into an fx array, which is immutable. Use the returned array, or x = x.at[...].set(...)."
        )
    else:
        raise SideEffectError(
            f"{what} writes a traced value into a plain {type(target).__name__}, which cannot hold it: the write would be lost."
            " Decorate the function with @fx.numpy_program, make the buffer from a traced array (np.zeros_like(x),"
            " np.zeros(n, like=x)), or use the returned array."
        )


def _write_out(out: Any, result: Any, what: str, casting: str = "same_kind") -> Any:
    """``out=``: the result is written there, and ``out`` returned."""
    if out is None:
        return result
    if not isinstance(out, tuple):
        _assign(out, result, f"{what} with out=", casting)
        return out
    if len(out) == 1:
        return _write_out(out[0], result, what, casting)
    return tuple([_write_out(o, r, what, casting) for o, r in zip(out, result)])


def honouring_out(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function with an ``out=`` argument, which writes its result there: a traced array, or a NumPy array for a known one."""
    found = position_of("out", f)
    assert found is not None
    at: int = found

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if not kwargs and len(args) <= at:  # the common case
                return f(*args)
            if len(args) > at:
                out, args = args[at], (*args[:at], None, *args[at + 1 :])
            else:
                out = kwargs.pop("out", None)
            result = f(*args, **kwargs)
            return result if out is None else _write_out(out, result, f"fx.numpy.{f.__name__}")
        except BaseException as e:
            shorten(e)
            raise

    call.hides_frames = True  # type: ignore[attr-defined]
    return call


_CONVERSIONS = frozenset({"atleast_1d", "atleast_2d", "atleast_3d"})
"""Functions by which others make sure of a NumPy array, as by ``np.asarray``: they give one where all is known."""

_IN_PLACE = frozenset({"copyto", "putmask", "fill_diagonal", "place", "put", "put_along_axis"})
"""Functions that change their first argument; those of ``fx.numpy`` compute its new value."""


_NUMPY_S_WAY: dict[str, dict[str, bool]] = {
    "np.linalg.lstsq": {"numpy_resid": True},  # it leaves the residuals out where they say nothing
    "np.linalg.cholesky": {"symmetrize_input": False},  # and these read one triangle
    "np.linalg.eigh": {"symmetrize_input": False},
    "np.linalg.eigvalsh": {"symmetrize_input": False},
}
"""What a function of ``fx.numpy``, which is as JAX's is, must be told to be as NumPy's."""

_LISTS = frozenset({"split", "array_split", "hsplit", "vsplit", "dsplit"})
"""NumPy's functions of several results give a tuple, but for these."""


# -------------------------------------------------------------------------------------- the two doors

_same: dict[np.ufunc, Ufunc] = {}  # ufuncs of NumPy, and those of ``fx.numpy`` that take their place


@user_frames
def array_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``__array_ufunc__`` of arrays and tracers."""
    if not kwargs and method == "__call__":  # the common case
        same = _same.get(ufunc)
        if same is None and isinstance(found := _find_ufunc(ufunc), Ufunc) and found.nin == ufunc.nin:
            same = _same[ufunc] = found
        if same is not None:
            return same(*inputs)
    what = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    out, casting = kwargs.pop("out", None), kwargs.pop("casting", "same_kind")
    for ignored in ("order", "subok"):
        kwargs.pop(ignored, None)
    kwargs = {k: v for k, v in kwargs.items() if k == "axis" or (v is not None and v is not np._NoValue)}
    f = _find_ufunc(ufunc)
    if f is None or (method != "__call__" and not isinstance(f, Ufunc)):
        done = _by_numpy(getattr(ufunc, method), what, inputs, kwargs)
        done = tuple([_as_array(d) for d in done]) if isinstance(done, tuple) else _as_array(done)
        return _write_out(out, done, what, casting)
    if method == "at":
        target, *rest = inputs
        _assign(target, _call(f.at, what, (target, *rest), kwargs), what, "unsafe")
        return None
    if method != "__call__":
        return _write_out(out, _call(getattr(f, method), what, inputs, kwargs), what, casting)
    where, dtype = kwargs.pop("where", True), kwargs.pop("dtype", None)
    if dtype is not None:
        inputs = tuple([as_typed(x, dtype) for x in inputs])
    result = _call(f, what, inputs, kwargs)
    if where is not True:
        several = isinstance(result, tuple)
        olds = (None,) * 2 if out is None else out
        chosen = [
            selection.where(where, r, zeros_like(r) if old is None else old)
            for r, old in zip(result if several else (result,), olds)
        ]
        result = tuple(chosen) if several else chosen[0]
    return _write_out(out, result, what, casting)


def _call(f: Callable[..., Any], what: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """``f(*args, **kwargs)``.

    Raises:
        UnsupportedFunctionError: NumPy's function has an argument that ours has not.
    """
    try:
        return f(*args, **kwargs)
    except TypeError as e:
        if isinstance(e, FxError):
            raise
        try:
            signature_of(f).bind(*args, **kwargs)
        except TypeError as unbound:
            raise UnsupportedFunctionError(
                f"{what} cannot be traced with these arguments: {unbound}. fx.numpy has"
                f" {getattr(f, '__name__', what)}{signature_of(f)}."
            ) from None
        raise


def _as_array(x: Any) -> Any:
    return Array(to_numpy(x)) if isinstance(x, (np.ndarray, np.generic)) else x


_KNOWN = frozenset((Array, np.ndarray))


def _plain(x: Any) -> Any:
    return np.asarray(x) if type(x) is Array else x


@user_frames
def array_function(self: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """``__array_function__`` of arrays and tracers."""
    if config.numpy_functions == "numpy" and Tracer not in types and set(types) <= _KNOWN:
        return func(*tree.map(_plain, args), **tree.map(_plain, kwargs))
    space, name = _space_of(func), func.__name__
    what = f"{space.replace('numpy', 'np', 1)}.{name}"
    if space != "numpy":
        return _in_space(space, func, what, args, kwargs)
    if name in _STATIC:
        return _of_types(func, args, kwargs)
    if name in ("array2string", "array_repr", "array_str") and type(args[0]) is Tracer:
        return repr(args[0])
    if name in ("may_share_memory", "shares_memory"):
        return _shares_memory(*args, **kwargs)
    if name in CREATORS and not any(type(x) in (Tracer, Array) for x in tree.leaves((args, kwargs))):
        return (
            create(name, cast(Any, recording_builder((self,))), args, kwargs)
            if type(self) is Tracer
            else _by_numpy(func, what, args, kwargs)
        )
    if name in _CONVERSIONS and not any(type(x) is Tracer for x in args):
        return _by_numpy(func, what, args, kwargs)
    if name in _IN_PLACE:
        _assign(args[0], _find("numpy", name)(*args, **kwargs), what)
        return None
    out, kwargs = kwargs.get("out"), _given(kwargs)
    view = views.numpy_view(name, args, kwargs)
    if view is not NotImplemented:
        return view
    f = _find(space, name)
    if f is None:
        return _by_numpy(func, what, args, kwargs)
    result = _as_new(_call(f, what, args, kwargs), args)
    if type(result) is list and name not in _LISTS:
        return tuple(result)
    return _write_out(out, result, what)


def _given(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in kwargs.items() if v is not np._NoValue and k not in ("subok", "like", "out")}


def _as_new(result: Any, args: Any) -> Any:
    """A function that changed nothing gives a new array all the same."""
    return result.alias() if type(result) in (Array, Tracer) and any(result is a for a in args) else result


def _in_space(space: str, func: Any, what: str, args: Any, kwargs: Any) -> Any:
    """A function of ``np.linalg``, ``np.fft`` and the like."""
    out, kwargs = kwargs.get("out"), _given(kwargs)
    if func.__name__ in ("matrix_transpose", "sliding_window_view") and type(args[0]) is Tracer:
        return views.view_method(func.__name__, *args, **kwargs)
    f = _find(space, func.__name__)
    if f is None:
        return _by_numpy(func, what, args, kwargs)
    kwargs.update(_NUMPY_S_WAY.get(what, {}))
    return _write_out(out, _as_new(_call(f, what, args, kwargs), args), what)
