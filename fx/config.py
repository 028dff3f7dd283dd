"""Every option of fx and jit, in one place.

Read an option as an attribute, set it by assignment or for a while with ``config.using(...)``::

    fx.config.default_float = "float64"
    with fx.config.using(traceback="full"):
        ...

Options are process-wide, but for ``using``, which is local to the thread.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import dtypes
from .errors import ArgumentError

__all__ = ["ALERT", "config", "Config", "in_full_width"]

ALERT: list[Any] = []
"""What keeps operations of any thread from being evaluated at once: traces that record everything, wishes to have results
checked.  While it is empty, nobody need look further."""


def _float(v: Any) -> np.dtype:
    d = np.dtype(v)
    if d not in (np.dtype("float32"), np.dtype("float64"), np.dtype("float16")):
        raise ArgumentError(f"default_float must be float16, float32 or float64, not {v!r}")
    return d


def _int(v: Any) -> np.dtype:
    d = np.dtype(v)
    if d not in (np.dtype("int32"), np.dtype("int64")):
        raise ArgumentError(f"default_int must be int32 or int64, not {v!r}")
    return d


def _choice(name: str, *allowed: Any) -> Any:
    def check(v: Any) -> Any:
        if v not in allowed:
            raise ArgumentError(f"fx.config.{name} = {v!r}: it is one of {', '.join(map(repr, allowed))}")
        return v

    return check


# name -> (default, check, what it is)
OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "default_float": (np.dtype("float32"), _float, "dtype of new arrays made from Python floats"),
    "default_int": (np.dtype("int32"), _int, "dtype of new arrays made from Python ints"),
    "python_dtypes": (
        os.environ.get("FX_PYTHON_DTYPES", "numpy"),
        _choice("python_dtypes", "numpy", "default"),
        "what int, float, complex mean as dtypes: 'numpy' 64 bits, 'default' those of default_int and default_float, as in JAX",
    ),
    "wide_dtypes": (
        os.environ.get("FX_WIDE_DTYPES", "keep"),
        _choice("wide_dtypes", "keep", "default"),
        "arrays of NumPy and dtypes of 64 bits: 'keep' them, or 'default': those of default_float and default_int, as in JAX",
    ),
    "in_place": (
        os.environ.get("FX_IN_PLACE", "numpy"),
        _choice("in_place", "numpy", "rebind"),
        "x += y on a traced array: 'numpy' changes it for all its names and views, 'rebind' the name alone, as in JAX",
    ),
    "numpy_functions": (
        os.environ.get("FX_NUMPY_FUNCTIONS", "fx"),
        _choice("numpy_functions", "fx", "numpy"),
        "what np.copy(x), np.concatenate(xs) ... give of known arrays: 'fx' arrays of fx, 'numpy' NumPy's, as of those of JAX",
    ),
    "numpy_rank_promotion": (
        "allow",
        _choice("numpy_rank_promotion", "allow", "warn", "raise"),
        "operands of different numbers of dimensions: 'allow' them, 'warn' or 'raise'; numbers may stand beside any array",
    ),
    "array_api": (
        os.environ.get("FX_ARRAY_API", "0") == "1",
        bool,
        "the array API standard's way where NumPy's or JAX's is another: x[i] = v on arrays; numbers made arrays are not weak",
    ),
    "traceback": (
        os.environ.get("FX_TRACEBACK", "user"),
        _choice("traceback", "user", "full"),
        "'user' hides fx's own frames",
    ),
    "backend": (
        os.environ.get("FX_BACKEND", "native"),
        _choice("backend", "native", "reference"),
        "what runs a jitted graph",
    ),
    "engine": (
        os.environ.get("FX_ENGINE", "llvm"),
        _choice("engine", "llvm", "quick", "numba"),
        "what turns loops into machine code",
    ),
    "disable_jit": (os.environ.get("FX_DISABLE_JIT", "0") == "1", bool, "run jitted functions op by op"),
    "explain_misses": (os.environ.get("FX_EXPLAIN_MISSES", "0") == "1", bool, "print why jit traced or compiled again"),
    "debug_nans": (os.environ.get("FX_DEBUG_NANS", "0") == "1", bool, "raise NaNError where the first NaN comes from"),
    "debug_infs": (os.environ.get("FX_DEBUG_INFS", "0") == "1", bool, "the same for infinities"),
    "check_tracer_leaks": (False, bool, "raise when a traced value outlives its trace"),
    "verify": (os.environ.get("FX_VERIFY", "0") == "1", bool, "verify every graph, plan and loop program"),
}


_WATCHING = ("debug_nans", "debug_infs")

# options of JAX: what they are called here, and those that are accepted (with the values that are, None: any)
_OF_JAX = {
    "jax_log_compiles": "explain_misses",
    "jax_explain_cache_misses": "explain_misses",
    "jax_enable_checks": "verify",
}
_ACCEPTED: dict[str, tuple[Any, ...] | None] = {
    "jax_platforms": ("cpu", "", None), "jax_platform_name": ("cpu", "", None), "jax_default_matmul_precision": None,
    "jax_threefry_partitionable": (True,), "jax_default_prng_impl": ("threefry2x32",), "jax_enable_custom_prng": None,
    "jax_numpy_dtype_promotion": ("standard",),
    "jax_traceback_filtering": None, "jax_transfer_guard": None, "jax_softmax_custom_jvp": None,
    "jax_compilation_cache_dir": None, "jax_persistent_cache_min_compile_time_secs": None,
}  # fmt: skip


class Config:
    """The options as attributes; see the module docstring.

    ``epoch`` is another number after every change, and no number while a ``using`` block is open in any thread: what was
    decided under an equal number was decided under the same options.  ``watching``: some thread may want results checked;
    ``alert``: that, or operands.

    While no ``using`` block is open the values are plain attributes, as they are read all the time.
    """

    epoch: float
    watching: bool
    alert: bool

    def __init__(self) -> None:
        object.__setattr__(self, "_changes", 0)
        object.__setattr__(self, "_open", 0)
        object.__setattr__(self, "_watchers", 0)
        object.__setattr__(self, "_strict", 0)
        object.__setattr__(self, "_lock", threading.RLock())
        object.__setattr__(self, "epoch", 0)
        object.__setattr__(self, "watching", False)
        object.__setattr__(self, "alert", False)
        object.__setattr__(self, "_values", {k: check(default) for k, (default, check, _) in OPTIONS.items()})
        object.__setattr__(self, "_local", threading.local())
        self._count()

    def __reduce__(self) -> str:
        """By name: another process has options of its own."""
        return "config"

    def __getattr__(self, name: str) -> Any:
        overrides = getattr(self._local, "overrides", None)
        if overrides and name in overrides:
            return overrides[name]
        if name in ("jax_enable_x64", "x64_enabled"):
            return self.default_float == np.dtype("float64")
        if name in _ACCEPTED:  # what it always is here
            return (_ACCEPTED[name] or (None,))[0]
        try:
            return self._values[_OF_JAX.get(name, name.removeprefix("jax_"))]
        except KeyError:
            raise AttributeError(f"fx.config has no option {name!r}; it has {', '.join(sorted(OPTIONS))}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in OPTIONS:
            raise AttributeError(f"fx.config has no option {name!r}; it has {', '.join(sorted(OPTIONS))}")
        self._values[name] = OPTIONS[name][1](value)
        if name == "wide_dtypes":
            dtypes.keep_wide(value == "keep")
        self._count(changes=1)

    def _count(self, changes: int = 0, opened: int = 0, watchers: int = 0, strict: int = 0) -> None:
        with self._lock:
            object.__setattr__(self, "_watchers", self._watchers + watchers)
            object.__setattr__(self, "_strict", self._strict + strict)
            watching = self._watchers > 0 or any(self._values[n] for n in _WATCHING)
            alert = watching or self._strict > 0 or self._values["numpy_rank_promotion"] != "allow"
            if alert != self.alert:
                ALERT.append(self) if alert else ALERT.remove(self)
            object.__setattr__(self, "watching", watching)
            object.__setattr__(self, "alert", alert)
            object.__setattr__(self, "_changes", self._changes + changes)
            object.__setattr__(self, "_open", self._open + opened)
            object.__setattr__(self, "epoch", math.nan if self._open else self._changes)
            if self._open:  # threads see different values: ``__getattr__`` looks for them
                for name in OPTIONS:
                    self.__dict__.pop(name, None)
            else:
                self.__dict__.update(self._values)

    @contextlib.contextmanager
    def using(self, **options: Any) -> Iterator[None]:
        """Sets options for the ``with`` block, in this thread only."""
        for name in options:
            if name not in OPTIONS:
                raise AttributeError(f"fx.config has no option {name!r}; it has {', '.join(sorted(OPTIONS))}")
        if "wide_dtypes" in options:
            raise ArgumentError("wide_dtypes is set for the whole process: fx.config.wide_dtypes = ...")
        old = getattr(self._local, "overrides", None) or {}
        self._local.overrides = {**old, **{k: OPTIONS[k][1](v) for k, v in options.items()}}
        watchers = int(any(options.get(n) for n in _WATCHING))
        strict = int(options.get("numpy_rank_promotion", "allow") != "allow")
        self._count(opened=1, watchers=watchers, strict=strict)
        try:
            yield
        finally:
            self._local.overrides = old
            self._count(opened=-1, watchers=-watchers, strict=-strict)

    def current(self) -> tuple[Any, ...]:
        """The values of all options in this thread, in order."""
        return tuple({**self._values, **(getattr(self._local, "overrides", None) or {})}.values())

    def update(self, name: str, value: Any) -> None:
        """Sets an option by name; JAX's names of options (``"jax_enable_x64"``) mean here what they mean there.

        Raises:
            AttributeError: there is no such option.
        """
        if name == "jax_enable_x64":
            bits = 64 if value else 32
            self.default_float, self.default_int = np.dtype(f"float{bits}"), np.dtype(f"int{bits}")
        elif name == "jax_disable_most_optimizations":
            self.engine = "quick" if value else "llvm"
        elif name in _OF_JAX:
            setattr(self, _OF_JAX[name], value)
        elif name in _ACCEPTED:
            accepted = _ACCEPTED[name]
            if accepted is not None and value not in accepted:
                raise ArgumentError(f"{name}={value!r} cannot be had in fx; it is always {accepted[0]!r}")
        elif name.removeprefix("jax_") in OPTIONS:
            setattr(self, name.removeprefix("jax_"), value)
        else:
            setattr(self, name, value)  # names what there is

    def read(self, name: str) -> Any:
        """The value of an option by name, JAX's names of options included."""
        return getattr(self, name)

    def parse_flags_with_absl(self) -> None:
        """Does nothing, for programs that ask: fx defines no flags of the command line, and absl refuses those it does not know."""

    def __repr__(self) -> str:
        width = max(map(len, OPTIONS))
        return "\n".join(f"{k:<{width}} = {getattr(self, k)!s:<10} # {OPTIONS[k][2]}" for k in OPTIONS)


config = Config()


def in_full_width(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that computes in 64 bits in between, also where ``wide_dtypes`` takes those of users for 32."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if dtypes.float64 in dtypes.SUPPORTED:
            return f(*args, **kwargs)
        with config.using(default_float=dtypes.float64, default_int=dtypes.int64):
            return f(*args, **kwargs)

    return call


def _of_python(kind: type) -> np.dtype:
    if config.python_dtypes == "numpy":
        return np.dtype(kind)
    if kind is int:
        return config.default_int  # type: ignore[no-any-return]
    d: np.dtype = config.default_float
    return d if kind is float else np.dtype(f"complex{max(64, 16 * d.itemsize)}")


def _of_wide(d: np.dtype) -> np.dtype:
    default = config.default_int if d.kind in "iu" else config.default_float
    if default.itemsize >= 8:
        return d
    return default if d.kind in "if" else np.dtype(np.uint32 if d.kind == "u" else np.complex64)


dtypes.of_python = _of_python
dtypes.of_wide = _of_wide
dtypes.keep_wide(config.wide_dtypes == "keep")


def _after_fork() -> None:
    """The thread of the parent that held the lock is gone."""
    object.__setattr__(config, "_lock", threading.RLock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
