"""Finding the equation that gave birth to a NaN in the results of a compiled program, by running it again in NumPy.

The program's graph is run equation by equation with all values kept.  From a result that is bad the search goes back
through the operand that the NaN came through (bad elements of which do matter: a NaN in the branch that ``select`` does not
take is left alone), to the first equation without a bad operand, and into the graphs that it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .config import config
from .errors import NaNError
from .ir import Eqn, Graph, Literal, Var, subgraphs
from .nans import describe, holds, unchecked, wanted
from .printing import param_text
from .trace import evaluate, read, source_override

__all__ = ["checked"]


def checked(run: Callable[..., Sequence[np.ndarray]], graph: Graph, donate: Sequence[int] = ()) -> Callable[..., Any]:
    """A compiled program that looks at its results while ``debug_nans`` or ``debug_infs`` is on.

    Args:
        run: the program of ``graph``.
        donate: arguments that it overwrites, of which it is given copies.
    """
    if not wanted():
        return run

    def call(*args: np.ndarray) -> Sequence[np.ndarray]:
        given = [np.array(a) if i in donate else a for i, a in enumerate(args)]
        with unchecked():
            outs = run(*given)
        for kind in wanted():
            for i, o in enumerate(outs):
                if holds(kind, o).any():
                    _report(kind, graph, args, i)
        return outs

    return call


@dataclass(frozen=True)
class _Birth:
    """An equation that gave birth to a NaN, with its operands and the result that holds it."""

    eqn: Eqn
    operands: list[np.ndarray]
    result: np.ndarray


def _report(kind: str, graph: Graph, args: Sequence[np.ndarray], output: int) -> None:
    """Raises NaNError for a bad output, unless the NaN came in with the arguments."""
    with config.using(backend="reference"), np.errstate(all="ignore"):
        found = _birth(kind, graph, args, output)
    if found is None:
        return
    e = found.eqn
    params = ", ".join(f"{k}={param_text(v)}" for k, v in e.params.items() if not subgraphs({k: v}))
    text = f"{', '.join(str(v.aval) for v in e.outputs)} = {e.prim.name}{f'[{params}]' if params else ''}" + "".join(
        f" {a.value}" if isinstance(a, Literal) else f" {a.aval}" for a in e.inputs
    )
    where = f" in the compiled program of {graph.name!r}"
    raise NaNError(describe(kind, e.prim.name, found.operands, found.result, e.source, where, text))


def _run(e: Eqn, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
    with unchecked():
        return evaluate(e.prim, operands, e.params)  # type: ignore[arg-type]


def _birth(kind: str, graph: Graph, args: Sequence[np.ndarray], output: int) -> _Birth | None:
    env: dict[Var, Any] = dict(zip(graph.inputs, args, strict=True))
    maker: dict[Var, Eqn] = {}
    for e in graph.eqns:
        values = _run(e, [np.asarray(read(env, a)) for a in e.inputs])
        env.update(zip(e.outputs, values))
        maker.update(dict.fromkeys(e.outputs, e))
    atom = graph.outputs[output]
    while isinstance(atom, Var) and atom in maker:
        e = maker[atom]
        operands = [np.asarray(read(env, a)) for a in e.inputs]
        i = e.outputs.index(atom)
        if not holds(kind, env[atom]).any():
            return None  # the reference does not give what the compiled program gave
        through = _through(kind, e, operands, i)
        if through is None:
            return _inside(kind, e, operands, i) or _Birth(e, operands, np.asarray(env[atom]))
        atom = e.inputs[through]
    return None


def _through(kind: str, e: Eqn, operands: list[np.ndarray], i: int) -> int | None:
    """The operand through which bad elements come into result ``i``; None if the equation makes them itself."""
    bad = [k for k, x in enumerate(operands) if holds(kind, x).any()]
    if not bad:
        return None

    def count(replaced: Sequence[int]) -> int:
        given = [np.where(holds(kind, x), x.dtype.type(0), x) if k in replaced else x for k, x in enumerate(operands)]
        return int(holds(kind, _run(e, given)[i]).sum())

    if count(bad):  # without any bad operand it is bad all the same
        return None
    before = count(())
    return next((k for k in bad if count((k,)) < before), bad[0])


def _inside(kind: str, e: Eqn, operands: list[np.ndarray], i: int) -> _Birth | None:
    """The equation inside of the graphs that an equation holds."""
    graphs = subgraphs(e.params)
    if len(graphs) == 1 and len(graphs[0][1].inputs) == len(operands) and len(graphs[0][1].outputs) == len(e.outputs):
        return _birth(kind, graphs[0][1], operands, i)
    if graphs:  # a loop or a branch: its own evaluation is checked equation by equation, and raises
        with source_override(e.source):
            evaluate(e.prim, operands, e.params)  # type: ignore[arg-type]
    return None
