"""The public names of JAX beside ours: what is there, what is not, and why.  ``python tests/surface.py`` lists them.

A namespace is one entry of ``NAMESPACES``; ``absent`` gives the reason for each name that is not here, and is held
true by ``tests/fx_tests/test_surface.py``.  ``LISTED`` has those that are not held yet.
"""

from __future__ import annotations

import importlib
import types
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Namespace:
    """A module of JAX's and ours.

    Args:
        outside: names that have no meaning here, with the reason: they do not count.
        absent: names that could be here and are not, with the reason.
    """

    theirs: str
    ours: str
    outside: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Their public names, modules that they happen to import aside."""
        module = importlib.import_module(self.theirs)
        declared = set(getattr(module, "__all__", ()))
        return [
            n
            for n in sorted(declared or dir(module))
            if n in declared or _is_public(n, getattr(module, n), self.theirs)
        ]

    def present(self) -> list[str]:
        ours = importlib.import_module(self.ours)
        return [n for n in self.names() if hasattr(ours, n)]

    def missing(self) -> list[str]:
        """Names that count, and are not here."""
        ours = importlib.import_module(self.ours)
        return [n for n in self.names() if not hasattr(ours, n) and n not in self.outside]

    def share(self) -> float:
        """The part of the names that count which is here."""
        here, gone = len(self.present()), len(self.missing())
        return here / max(here + gone, 1)


def _is_public(name: str, value: Any, module: str) -> bool:
    if name.startswith("_") or name == "annotations":
        return False
    return not isinstance(value, types.ModuleType) or value.__name__ == f"{module}.{name}"


_NO_DTYPE = "a dtype that fx does not compute with"
_FOREIGN_DTYPES = (
    "float4_e2m1fn float6_e2m3fn float6_e3m2fn float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2"
    " float8_e5m2fnuz float8_e8m0fnu int1 int2 int4 uint1 uint2 uint4"
).split()

NAMESPACES = {
    "numpy": Namespace(
        "jax.numpy", "fx.numpy", outside=dict.fromkeys(_FOREIGN_DTYPES, _NO_DTYPE), absent={"fft": "to come"}
    ),
    "numpy.linalg": Namespace("jax.numpy.linalg", "fx.numpy.linalg"),
    "scipy.linalg": Namespace("jax.scipy.linalg", "fx.scipy.linalg"),
    "scipy.special": Namespace("jax.scipy.special", "fx.scipy.special"),
    "scipy.stats": Namespace("jax.scipy.stats", "fx.scipy.stats"),
    "tree": Namespace("jax.tree", "fx.tree"),
    "image": Namespace("jax.image", "fx.image"),
    "ops": Namespace("jax.ops", "fx.ops"),
}
"""Held by the tests."""

LISTED = {
    name: Namespace(f"jax.{name}" if name else "jax", f"fx.{name}" if name else "fx")
    for name in ("", "lax", "random", "nn", "nn.initializers", "tree_util", "debug")
}
"""Listed by the script, without reasons as yet; an entry moves up once each absent name has one."""


def listing(spaces: dict[str, Namespace] = NAMESPACES) -> str:
    """The table that the script prints."""
    lines: list[str] = []
    for space in spaces.values():
        here, gone = space.present(), space.missing()
        lines += [
            f"{space.ours}: {len(here)} of {len(here) + len(gone)} names of {space.theirs} ({100 * space.share():.1f} %)"
        ]
        lines += [f"    absent   {n}: {space.absent.get(n, 'no reason is given')}" for n in gone]
        reasons: dict[str, list[str]] = {}
        for name, why in space.outside.items():
            reasons.setdefault(why, []).append(name)
        lines += [f"    outside  {' '.join(names)}: {why}" for why, names in reasons.items()]
        lines += [f"    present  {' '.join(here)}"]
    return "\n".join(lines)


if __name__ == "__main__":
    print(listing(NAMESPACES | LISTED))
