"""``fx.as_jax``: fx in the place of JAX, for packages that say ``import jax`` themselves.

equinox, flax, optax, diffrax, NumPyro, BlackJAX ... import ``jax``, and a user cannot change their import lines.  From
``install()`` on, ``import jax``, ``import jax.numpy as jnp``, ``from jax.scipy.stats import norm``, ``jax.extend``,
``jax.experimental``, ``jaxlib`` and the names below ``jax._src`` that packages take are those of fx:

>>> import fx
>>> with fx.as_jax.installed():
...     import jax, jax.numpy as jnp
...     jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(x))))(jnp.zeros(3))
Array([1., 1., 1.], dtype=float32)

A program that is not to know of fx at all runs by ``python -m fx as-jax program.py [arguments]``, a module, as with Python, by
``python -m fx as-jax -m module [arguments]``.

Four options take the values that JAX's programs rely on, as long as fx stands in: ``python_dtypes="default"``,
``wide_dtypes="default"``, ``in_place="rebind"`` and ``numpy_functions="numpy"`` (see ``fx.config``).

* ``jax.__version__`` is the version of JAX whose names these are, so that packages accept it; ``jax.__fx__`` is the module of
  fx that answers (``jax.__fx__.__version__``, ``jax.numpy.__fx__``).
* A module that fx lacks raises ``ModuleNotFoundError``, a name that it lacks ``AttributeError`` (``ImportError`` in a ``from``
  import): the message says that fx stands in for jax, and what is missing.
* JAX itself must not be imported before; ``import fx`` alone never touches ``sys.modules["jax"]``.
* ``uninstall()`` ends it: ``import jax`` is JAX again, if it is installed, and the options are what they were.  Packages that were
  imported in between keep the modules of fx that they hold, so a process does well to keep to one of the two.
* A process that is started anew (``multiprocessing`` with ``spawn``) begins without: there too, ``install()`` comes first.

Where fx differs from JAX (a static index outside of an array raises, one CPU device ...) stands in the README.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from ..config import config
from ..errors import StandInError
from .modules import FINDER, StandIn, stand_in
from .names import OPTIONS

__all__ = ["install", "installed", "is_installed", "run", "uninstall"]

_before: dict[str, Any] = {}  # the options as they were, with those that "jax_enable_x64" sets


def is_installed() -> bool:
    """Whether ``import jax`` gives fx."""
    return FINDER in sys.meta_path


def install() -> ModuleType:
    """From here on, ``import jax`` gives fx; does nothing where it does already.

    Returns:
        The module ``jax``.

    Raises:
        StandInError: JAX itself is imported.
    """
    if not is_installed():
        theirs = [name for name in ("jax", "jaxlib") if not isinstance(sys.modules.get(name), (StandIn, type(None)))]
        if theirs:
            raise StandInError(
                f"{theirs[0]} itself is imported already, and what has been taken from it stays. fx can stand in for it only where"
                " fx.as_jax.install() comes before whatever imports it: at the top of the program, or by"
                " python -m fx as-jax PROGRAM"
            )
        sys.meta_path.insert(0, FINDER)
        _before.update({name: getattr(config, name) for name in (*OPTIONS, "default_float", "default_int")})
        for name, value in OPTIONS.items():
            setattr(config, name, value)
        sys.modules["jax"] = stand_in("jax")
    return sys.modules["jax"]


def uninstall() -> None:
    """Takes the modules of ``install`` away and sets the options to what they were; does nothing where fx does not stand in."""
    if is_installed():
        sys.meta_path.remove(FINDER)
        for name in [name for name, module in sys.modules.items() if isinstance(module, StandIn)]:
            del sys.modules[name]
        for name, value in _before.items():
            setattr(config, name, value)


@contextlib.contextmanager
def installed() -> Iterator[ModuleType]:
    """``with installed() as jax``: fx stands in for JAX in the block (for the whole process, not for one thread).

    Raises:
        StandInError: JAX itself is imported.
    """
    outer = is_installed()
    try:
        yield install()
    finally:
        if not outer:
            uninstall()


def run(program: str, arguments: Sequence[str] = (), module: bool = False) -> None:
    """Runs a program as ``python program arguments`` would, with fx in JAX's place: ``python -m fx as-jax``.

    Args:
        program: a file; with ``module`` the name of a module, as after ``python -m``.
        arguments: what it finds in ``sys.argv[1:]``.

    Raises:
        StandInError: JAX itself is imported.
    """
    install()
    sys.argv = [program, *arguments]
    if module:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        if not sys.flags.safe_path:
            sys.path.insert(0, os.path.dirname(os.path.realpath(program)))
        runpy.run_path(program, run_name="__main__")
