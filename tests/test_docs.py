"""The documentation lists what there is: every primitive with its summary, rules and lowering; README's example runs.

``pytest --update-golden`` writes ``fx/primitives/README.md`` anew.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import subprocess
import sys
from pathlib import Path

import fx.lax
import fx.random
from fx.primitive import all_primitives
from fx.transforms import checkpoint, custom_jvp, custom_vjp

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "fx" / "primitives" / "README.md"

# primitives whose public function has another name, and where it is
FUNCTIONS = {
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "not": "bitwise_not", "iota": "broadcasted_iota",
    "while": "while_loop",
    "reduce_window_sum": "reduce_window", "reduce_window_max": "reduce_window", "reduce_window_min": "reduce_window",
}  # fmt: skip
SUMMARIES = {
    "jit": "The call of a jitted function: holds its graph.",
    "checkpoint": "A graph whose values are recomputed in the backward pass.",
    "name": "The identity, giving a value a name for checkpoint policies.",
    "custom_jvp_call": "A graph with a jvp rule of the user's.",
    "custom_vjp_call": "A graph with a forward and a backward rule of the user's.",
    "custom_vjp_linear": "The tangent of a custom_vjp function: its transpose calls the backward rule.",
    "pure_callback": "Calls a pure Python function.",
    "debug_callback": "Calls a Python function for its effect, once, in order.",
    "reduce_window_argmax": "Position in its window of the first largest element.",
    "reduce_window_argmin": "Position in its window of the first smallest element.",
    "window_select": "The element of each window at a given position.",
    "window_scatter_add": "The transpose of window_select.",
    "linear_solve": "The solution x of A x = b, by a solver's graph.",
    "threefry2x32": "The threefry hash of counters under a key.",
}


def _registered() -> list[str]:
    code = "import fx.numpy, fx.random, fx.lax, fx.nn, fx.primitive as p; print(*p.all_primitives())"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()


def _summary(name: str) -> str:
    if name in SUMMARIES:
        return SUMMARIES[name]
    for space in (fx.lax, fx.lax.linalg, fx.random, checkpoint, custom_jvp, custom_vjp):
        f = getattr(space, FUNCTIONS.get(name, name), None)
        if f is not None and f.__doc__:
            return inspect.cleandoc(f.__doc__).split("\n")[0]
    raise AssertionError(f"primitive {name!r} has no documented function in fx.lax: write its docstring")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _page() -> str:
    prims = all_primitives()
    rows = []
    for name in sorted(_registered()):
        p = prims[name]
        marks = [
            "yes" if p.has("jvp") or p.has("jvp_call") else "–",
            "yes" if p.has("transpose") else "–",
            "yes" if p.has("batch") else "–",
        ]
        rows.append(f"| `{name}` | {_escaped(_summary(name))} | {' | '.join(marks)} |")
    head = (
        "# The primitives\n\nEvery operation that the IR knows, with its rules. Written by `pytest tests/test_docs.py --update-golden`.\n"
        "A dash means that the rule does not exist, and the primitive says why when it is asked for.\n\n"
        "| primitive | what it computes | jvp | transpose | vmap |\n|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def test_every_primitive_is_documented(update_golden: bool) -> None:
    page = _page()
    if update_golden:
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "fx/primitives/README.md is out of date: pytest tests/test_docs.py --update-golden"


def test_the_first_example_of_the_readme_prints_what_it_says() -> None:
    text = (ROOT / "README.md").read_text()
    code, output = re.search(r"## A first example\n+```python\n(.*?)```\n+```\n(.*?)```", text, re.S).groups()  # type: ignore[union-attr]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue().split() == output.split()
