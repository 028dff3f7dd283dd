"""Text and HTML of a graph.

The text is faithful: one line an equation, ``outputs: type = primitive[params] inputs``, nested graphs indented
below the equation that holds them::

    { sin_of_square(x: f32[3])
      a: f32[3] = mul x x
      b: f32[3] = sin a
      return b }

Importing this module gives ``Graph`` its ``str`` and its notebook form.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .ir import Atom, Graph, Literal, Var, short_dtype, subgraphs

__all__ = ["graph_html", "graph_text", "param_text"]


def _letters() -> Iterator[str]:
    for n in itertools.count(1):
        for t in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=n):
            yield "".join(t)


class _Names:
    """Hands out a, b, c ... in order of appearance; arguments keep their own names."""

    def __init__(self) -> None:
        self.names: dict[Var, str] = {}
        self.used: set[str] = set()
        self.letters = _letters()

    def declare(self, v: Var, wish: str = "") -> str:
        name = wish if wish and wish.replace("_", "").isalnum() and wish not in self.used else ""
        while not name or name in self.used:
            name = next(self.letters)
        self.used.add(name)
        self.names[v] = name
        return name

    def of(self, a: Atom) -> str:
        if isinstance(a, Literal):
            return f"{_number(a.value)}:{short_dtype(a.aval.dtype)}"
        return self.names.get(a) or f"?{id(a) % 10000}"


def _number(value: Any) -> str:
    return repr(value.item()) if isinstance(value, np.generic) else repr(value)


def param_text(value: Any) -> str:
    """One parameter, short and without addresses."""
    if isinstance(value, np.dtype):
        return short_dtype(value)
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    if callable(value):
        return type(value).__name__
    if isinstance(value, tuple) and len(value) == 1:
        return f"({param_text(value[0])},)"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(param_text, value)) + ")"
    if isinstance(value, (int, float, str, bool, type(None), np.generic)):
        return repr(value)
    return type(value).__name__


def _lines(g: Graph, names: _Names, indent: str) -> Iterator[str]:
    wishes = g.input_names or ("",) * len(g.inputs)
    args = ", ".join(f"{names.declare(v, w)}: {v.aval}" for v, w in zip(g.inputs, wishes))
    yield f"{indent}{{ {g.name}({args})"
    for e in g.eqns:
        inner = subgraphs(e.params)
        held = {key.split("[")[0] for key, _ in inner}
        params = ", ".join(f"{k}={param_text(v)}" for k, v in e.params.items() if k not in held and v is not None)
        operands = " ".join(names.of(a) for a in e.inputs)
        outs = ", ".join(f"{names.declare(v)}: {v.aval}" for v in e.outputs) or "_"
        effect = f"  !{e.effect}" if e.effect else ""
        scope = f"  # {e.scope}" if e.scope else ""
        yield f"{indent}  {outs} = {e.prim.name}{f'[{params}]' if params else ''} {operands}".rstrip() + effect + scope
        for key, sub in inner:
            yield f"{indent}    {key} ="
            yield from _lines(sub, names, indent + "      ")
    yield f"{indent}  return {', '.join(map(names.of, g.outputs)) or 'nothing'} }}"


def graph_text(g: Graph) -> str:
    """The whole graph as text."""
    return "\n".join(_lines(g, _Names(), ""))


_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def graph_html(g: Graph) -> str:
    """The text for a notebook, one hoverable line an equation: the user's source line is the tooltip."""
    body = graph_text(g).split("\n")
    sources: list[str] = [""]
    if not any(subgraphs(e.params) for e in g.eqns):
        sources += [str(e.source or "") for e in g.eqns]
    rows = "\n".join(
        f'<span title="{s.translate(_ESCAPED)}">{line.translate(_ESCAPED)}</span>'
        for line, s in itertools.zip_longest(body, sources[: len(body)], fillvalue="")
    )
    return f'<pre style="line-height:1.3">{rows}</pre>'


Graph.__str__ = graph_text  # type: ignore[method-assign,assignment]
Graph._repr_html_ = graph_html  # type: ignore[attr-defined]
