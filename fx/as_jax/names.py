"""What JAX has under other names than fx: its modules, the few names that stand-ins have of their own, and its defaults.

``jax.X`` is ``fx.X``, and ``jax._src.X`` too where nothing else is said: most private modules of JAX are the public ones in all
but their name.  Here stand those that packages import and that are something else.  What can only be declared in fx
(``Ref``) says so where it is used.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NoReturn, TypeVar

import numpy as np

from ..dtypes import complex_dtype
from ..errors import UnsupportedArgumentError
from ..extend.core import Primitive
from ..platform import effects_barrier
from ..traceback import user_frames
from ..tree import is_tree_node

__all__ = ["NAMES", "OPTIONS", "ROOMS", "VERSION"]

VERSION = "0.10.2"
"""The version of JAX whose names fx has: what its tests are held to."""

OPTIONS = {"python_dtypes": "default", "wide_dtypes": "default", "in_place": "rebind", "numpy_functions": "numpy"}
"""The options of ``fx.config`` that programs for JAX rely on."""

ROOMS: dict[str, tuple[str, ...]] = {
    "jax": ("fx",),
    "jax.experimental.hijax": ("fx.as_jax.hijax",),
    "jax.lib": (),
    "jax.version": (),
    "jax._src": (),
    "jax._src.ad_util": ("fx.interpreters.ad",),
    "jax._src.api": ("fx",),
    "jax._src.checkify": ("fx.experimental.checkify",),
    "jax._src.compiler": (),
    "jax._src.dispatch": (),
    "jax._src.distributed": (),
    "jax._src.dtypes": ("fx.dtypes", "fx.numpy"),
    "jax._src.pjit": ("fx.experimental.pjit", "fx.extend.core.primitives"),
    "jax._src.prng": ("fx.random",),
    "jax._src.public_test_util": ("fx.test_util",),
    "jax._src.state": (),
    "jax._src.state.types": (),
    "jax._src.traceback_util": ("fx.traceback",),
    "jax._src.xla_bridge": ("fx.platform",),
    "jaxlib": (),
    "jaxlib.version": (),
    "jaxlib.xla_client": ("fx.platform",),
}
"""The modules of fx behind a module of JAX."""

F = TypeVar("F", bound=Callable[..., Any])


class Ref:
    """A mutable array of JAX.  fx has none: nothing is an instance."""


def new_ref(*_: Any, **__: Any) -> NoReturn:
    """Refuses to make a mutable array."""
    raise UnsupportedArgumentError(
        "fx has no mutable arrays (jax.new_ref): x = x.at[i].set(v) gives an array a new value"
    )


def api_boundary(f: F | None = None, **_: Any) -> Any:
    """Decorator: the frames of fx are taken out of the tracebacks of errors that leave ``f``."""
    return functools.partial(api_boundary, **_) if f is None else user_frames(f)


def infer_argnums_and_argnames(
    signature: inspect.Signature, argnums: int | tuple[int, ...] | None, argnames: str | tuple[str, ...] | None
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The places and the names of arguments that are given by one of the two; both as they are, where both are given."""
    nums = (argnums,) if isinstance(argnums, int) else tuple(argnums or ())
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames or ())
    parameters = enumerate(signature.parameters.values())
    places = [(i, p.name) for i, p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if argnums is None:
        nums = tuple(i for i, name in places if name in names)
    elif argnames is None:
        names = tuple(name for i, name in places if i in nums)
    return nums, names


class _TreeNodes(Mapping[type, None]):
    """The types that are nodes of pytrees, to be asked for with ``in``."""

    def __contains__(self, typ: object) -> bool:
        return isinstance(typ, type) and is_tree_node(typ)

    def __getitem__(self, typ: type) -> NoReturn:
        raise UnsupportedArgumentError("fx tells whether a type is a node of pytrees; its functions: jax.tree_util")

    def __iter__(self) -> Iterator[type]:
        raise UnsupportedArgumentError("fx tells whether a type is a node of pytrees; it lists none")

    __len__: Any = __iter__


def _narrow_floats() -> dict[str, Any]:
    """The scalar types of 8 bits, where ml_dtypes is installed: names for comparisons, as no operation of fx takes them."""
    if importlib.util.find_spec("ml_dtypes") is None:
        return {}
    ml_dtypes = importlib.import_module("ml_dtypes")
    names = ("float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
    return {name: getattr(ml_dtypes, name) for name in names}


_VERSION = {"__version__": VERSION, "__version_info__": tuple(map(int, VERSION.split(".")))}

NAMES: dict[str, dict[str, Any]] = {
    "jax": {**_VERSION, "Ref": Ref, "new_ref": new_ref},
    "jax.lib": _VERSION,
    "jax.numpy": _narrow_floats(),
    "jax.version": _VERSION,
    "jax._src.ad_util": {"stop_gradient_p": Primitive("stop_gradient")},  # no equation has it, in JAX neither
    "jax._src.api_util": {"infer_argnums_and_argnames": infer_argnums_and_argnames},
    "jax._src.dispatch": {"wait_for_tokens": effects_barrier},
    "jax._src.distributed": {
        "global_state": SimpleNamespace(client=None, coordinator_address=None, num_processes=1, process_id=0)
    },
    "jax._src.dtypes": {
        "DType": np.dtype,
        "ExtendedDType": type("ExtendedDType", (), {"__doc__": "The base of dtypes that are no NumPy's."}),
        "to_complex_dtype": complex_dtype,
    },
    "jax._src.state.types": {"AbstractRef": type("AbstractRef", (), {"__doc__": "The type of a ``Ref``."})},
    "jax._src.traceback_util": {"api_boundary": api_boundary},
    "jax._src.tree_util": {"_registry": _TreeNodes()},
    "jax._src.xla_bridge": {"_backends": {}},
    "jaxlib": _VERSION,
    "jaxlib.version": _VERSION,
}
"""Names that a module has beside those of fx, or instead of them."""
