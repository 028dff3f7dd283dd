"""Programs whose images are compared between processes: ``python image_programs.py`` prints what they are here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from control_programs import PROGRAMS
from laws import graph_of
from op_specs import SPECS
from thorough import part

import jit
from benchmarks.rows import steps
from fx import lax
from fx import numpy as fnp
from fx.errors import LoweringError
from fx.ir import Graph
from fx.passes import optimize
from jit.assembling import assemble
from jit.build import _keys_of
from jit.compiler import drafted
from jit.executable import Options, resolved
from jit.images import NotKept, image_key, pack

__all__ = ["image", "images", "programs", "training_steps"]


class _Caught(Exception):
    """In place of a compiled program."""


def training_steps() -> Iterator[tuple[str, Graph, tuple[int, ...]]]:
    """The programs of the benchmarks' training steps."""
    for row in steps.ROWS:
        caught: list[Any] = []

        def catch(graph: Graph, options: Options, caught: list[Any] = caught) -> None:
            caught.append((graph, options.donate))
            raise _Caught

        compiler, jit.compile = jit.compile, catch  # type: ignore[assignment]
        try:
            row.writes["fx"](row.data(np.random.default_rng(0))).run()
        except _Caught:
            pass
        finally:
            jit.compile = compiler
        ((graph, donate),) = caught
        yield row.name, graph, donate


def programs() -> Iterator[tuple[str, Graph, tuple[int, ...]]]:
    """Name, graph and donated inputs; of the cases of a primitive every other one."""
    for name, p in PROGRAMS.items():
        yield name, optimize(graph_of(p.make(lax, fnp), *p.args)), ()
    for n, (name, spec) in enumerate(SPECS.items()):
        for k, (case, dtype) in part(list(enumerate(spec.pairs())), n, 2):
            xs = case.draw(dtype)
            yield f"{name} {k}", optimize(graph_of(spec.function(case, dtype), *xs)), (0,) if xs else ()
    yield from training_steps()


def image(graph: Graph, donate: tuple[int, ...] = (), **options: Any) -> tuple[str, bytes]:
    """The key and the bytes of a graph's image, planned here.

    Raises:
        NotKept: it has none.
    """
    chosen = resolved(Options(donate=donate, num_threads=2, **options))
    key = image_key(graph, chosen)
    program = drafted(graph, chosen).finished()
    assert chosen.target is not None
    kernels = tuple(
        (k, h.kernel.name) for (k, _), h in zip(_keys_of(program.kernels, "llvm", chosen.target), program.kernels)
    )
    return key, pack(assemble(program), kernels, key)


def images() -> dict[str, list[str]]:
    """For each program the key and the digest of its image, or why it has none."""
    found = {}
    for name, graph, donate in programs():
        try:
            key, data = image(graph, donate)
            found[name] = [key, hashlib.sha256(data).hexdigest()]
        except (NotKept, LoweringError) as e:
            found[name] = [type(e).__name__, str(e).split(" at 0x")[0]]
    return found


if __name__ == "__main__":
    print(json.dumps(images()))
