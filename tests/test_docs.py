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

import pytest

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
    "custom_vmap_call": "A graph with a batching rule of the user's.",
    "pure_callback": "Calls a pure Python function.",
    "io_callback": "Calls a Python function for its effect and its results, once, in order.",
    "debug_callback": "Calls a Python function for its effect, once, in order.",
    "linear_recurrence": "s[k] = a[k] s[k-1] + b[k] along an axis, s[0] = b[0], from either end.",
    "nonzero": "The positions of the first ``length`` true elements of each row, rising; behind them the row's length.",
    "order_statistic": "The elements at given positions of each row, were it sorted.",
    "reduce_window_argmax": "Position in its window of the first largest element.",
    "reduce_window_argmin": "Position in its window of the first smallest element.",
    "window_select": "The element of each window at a given position.",
    "window_scatter_add": "The transpose of window_select.",
    "linear_call": "A linear function, whose transpose is another graph.",
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


PREPARED = {  # what stands around an example, and what holds after it
    ("README.md", "softsign"): (
        "import numpy as np, fx\nfrom fx.primitives.elementwise import *\nfrom fx.primitives.elementwise import FLOAT, unary\n"
        "from jit.lower.elementwise import op_, pointwise",
        "x = np.linspace(-2, 2, 7)\nwant = x / (1 + np.abs(x))\n"
        "for f in (softsign, fx.jit(softsign), fx.vmap(softsign)):\n    np.testing.assert_allclose(f(x), want, rtol=1e-15)\n"
        "np.testing.assert_allclose(fx.jit(fx.vmap(fx.grad(softsign)))(x), 1 / (1 + np.abs(x)) ** 2, rtol=1e-15)",
    ),
    ("README.md", "multiply_add_p"): (
        "",
        "import numpy as np\nassert fx.jit(fx.vmap(fx.grad(lambda x: multiply_add(x, x, x))))(np.arange(3.0)).tolist() == [1, 3, 5]",
    ),
    ("fx/nn/README.md", "class Block"): (
        "import numpy as np, fx\nfrom fx import nn",
        "block = Block(4, key=fx.random.key(0))\ny, state = block(np.ones((2, 5, 5, 4), np.float32), nn.init_state(block))\n"
        "assert y.shape == (2, 5, 5, 4) and set(state) == {'norm'}",
    ),
    ("fx/nn/README.md", "nn.partition"): (
        "import numpy as np, fx\nfrom fx import nn, optim\nmodel, optimizer = nn.Linear(3, 2, key=fx.random.key(0)), optim.adam(0.1)",
        "state, opt_state = nn.init_state(model), optimizer.init(params)\nx, labels = np.eye(3, dtype='f4'), np.array([0, 1, 0])\nvalues = []\n"
        "for n in range(5):\n"
        "    params, state, opt_state, value = step(params, state, opt_state, x, labels, fx.random.key(n))\n    values.append(float(value))\n"
        "assert values == sorted(values, reverse=True)",
    ),
    ("fx/train/README.md", "for epoch in"): (
        "import numpy as np, fx\nfrom fx import nn, optim, random\nmodel, optimizer = nn.Linear(3, 2, key=fx.random.key(0)), optim.sgd(0.1)\n"
        "optimizer_state, key, epochs = optimizer.init(model), random.key(1), 2\nx, y = np.eye(3, dtype='f4'), np.array([0, 1, 0])\n"
        "batches = lambda epoch: [(x, y)] * 3\nloss = lambda model, batch, key: nn.cross_entropy(model(batch[0]), batch[1])",
        "assert loss(model, (x, y), None) < value",
    ),
    ("fx/train/README.md", "train.Trainer"): (
        "import os, tempfile\nimport numpy as np, fx\nfrom fx import metrics, nn, optim, train\nos.chdir(tempfile.mkdtemp())\n"
        "model, optimizer = nn.Linear(3, 2, key=fx.random.key(0)), optim.sgd(0.1)\n"
        "batches = held_out = [(np.eye(3, dtype='f4'), np.array([0, 1, 0]))]\n"
        "loss = lambda model, batch, key: nn.cross_entropy(model(batch[0]), batch[1])",
        "assert os.path.isdir('runs/first')",
    ),
}  # fmt: skip


def test_every_other_example_of_the_readmes_runs() -> None:
    """Each with names of its own, in a process that is none of the tests': one of them adds a primitive."""
    programs = {}
    for (path, part), (before, after) in PREPARED.items():
        (code,) = [c for c in _examples(ROOT / path) if part in c]
        programs[f"{path}: {part}"] = "\n".join([before, code, after])
    run = f"for name, text in {programs!r}.items(): exec(compile(text, name, 'exec'), {{'__name__': '__main__'}})"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_no_example_of_the_readmes_is_left_out() -> None:
    for path in ("README.md", "fx/nn/README.md", "fx/train/README.md"):
        for code in _examples(ROOT / path):
            run = [part for file, part in PREPARED if file == path and part in code]
            assert len(run) == 1 or "def energy" in code, code


def _examples(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.S)


DOCUMENTS = [
    "README.md",
    *(
        str(p.relative_to(ROOT))
        for room in ("fx", "jit", "benchmarks", "notebooks")
        for p in (ROOT / room).rglob("*.md")
    ),
]


def _named_files(text: str) -> set[str]:
    """What stands in backticks, outside of code, and is a path: with a slash and an ending, or with one of a file that is kept here."""
    found = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", re.sub(r"```.*?```", "", text, flags=re.S))
    kept = (".py", ".md", ".ipynb", ".toml", ".npz")
    return {t for t in found if t.endswith(kept) or t.endswith("/") or ("/" in t and "." in t.rpartition("/")[2])}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_files_that_a_document_names_exist(document: str) -> None:
    """From the root or from the document's folder; the name alone of a file or a folder stands somewhere in the rooms."""
    path = ROOT / document
    names = {p.name for room in ("fx", "jit", "benchmarks", "tests", "notebooks") for p in (ROOT / room).rglob("*")}
    there = lambda t: (ROOT / t).exists() or (path.parent / t).exists() or t.rstrip("/") in names
    lost = [t for t in _named_files(path.read_text()) if not there(t)]
    assert not lost, f"{document} names files that are not there: {lost}"


def test_a_file_that_is_not_there_is_noticed() -> None:
    text = "`fx/nn/README.md`, `jit/`, `fx.numpy`, `x.at[i]` and `fx/gone.py`\n```\n`jit/gone.py`\n```"
    assert _named_files(text) == {"fx/nn/README.md", "jit/", "fx/gone.py"}
