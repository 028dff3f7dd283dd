"""``fx.debug`` beside ``jax.debug``: what the same programs print, log, call and open a prompt with, run in each way."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from surface import NAMESPACES

import fx
from fx.errors import TreeError

jax = pytest.importorskip("jax")
X = np.float32([1.5, -2, 0.25])

# what is done with the value of x inside the function, and what it is called with
PRINTS: dict[str, Callable[[Any, Any], None]] = {
    "an array": lambda d, x: d.print("x = {}", x),
    "by name": lambda d, x: d.print("{y} after {x}", x=x, y=2 * x),
    "no value": lambda d, x: d.print("here"),
    "format specifications": lambda d, x: d.print("{:.3f} {n:>5}", x.sum(), n=(x > 0).sum()),
    "known values": lambda d, x: d.print("{} {} {}", 3, np.float32([1, 2]), x[0]),
    "strings and types": lambda d, x: d.print("{}: {:>4} {name} {}", "x", x[0], np.float32, name=("a", None)),
    "a tree": lambda d, x: d.print("{t[a]} {t[b][0]}", t={"a": x[0], "b": (x[1],)}),
    "ordered": lambda d, x: (d.print("first {}", x[0], ordered=True), d.print("second {}", x[1], ordered=True))[0],
}
WAYS: dict[str, Callable[[Any, Callable[..., Any]], Any]] = {
    "eager": lambda lib, f: f(X),
    "jit": lambda lib, f: lib.jit(f)(X),
    "grad": lambda lib, f: lib.grad(lambda x: f(x).sum())(X),
    "grad of jit": lambda lib, f: lib.grad(lib.jit(lambda x: f(x).sum()))(X),
    "vmap": lambda lib, f: lib.vmap(f)(np.stack([X, 2 * X])),
    "jit of vmap": lambda lib, f: lib.jit(lib.vmap(f))(np.stack([X, 2 * X])),
    "scan": lambda lib, f: lib.lax.scan(lambda c, x: (c + f(x), c), X, np.stack([X, 2 * X])),
    "cond": lambda lib, f: lib.lax.cond(X[0] > 0, f, lambda x: x, X),
    "jvp": lambda lib, f: lib.jvp(f, (X,), (X,)),
}


def ran(lib: Any, do: Callable[[Any, Any], None], way: str) -> None:
    def f(x: Any) -> Any:
        do(lib.debug, lib.numpy.asarray(x))
        return 2 * x

    WAYS[way](lib, f)
    lib.effects_barrier()


@pytest.fixture(autouse=True)
def numpy_runs_the_graphs() -> Any:
    with fx.config.using(backend="reference"), jax.enable_x64(False):
        yield


@pytest.mark.parametrize("name", PRINTS)
def test_what_is_printed_is_what_jax_prints(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """... where an example of a batch, or an iteration, prints a line of its own; theirs come in any order."""
    for way in WAYS if name == "an array" else ("eager", "jit of vmap"):
        texts = []
        for lib in (fx, jax):
            ran(lib, PRINTS[name], way)
            texts.append(sorted(capfd.readouterr().out.splitlines()))
        assert texts[0] and texts[0] == texts[1], way


@pytest.mark.parametrize("way", WAYS)
def test_callbacks_get_what_jax_gives(way: str) -> None:
    found: list[list[Any]] = []
    for lib in (fx, jax):
        seen: list[Any] = []
        do = lambda d, x, seen=seen: d.callback(lambda v, s=0, *, k: seen.append((np.asarray(v), s, float(k))), x, "static", k=x[0])  # noqa: E731  # fmt: skip
        ran(lib, do, way)
        found.append(seen)
    assert len(found[0]) == len(found[1]) > 0
    for (v, s, k), (w, t, m) in zip(*[sorted(calls, key=lambda c: c[2]) for calls in found]):
        np.testing.assert_array_equal(v, w)
        assert v.dtype == w.dtype and (s, k) == (t, m)


def test_log_records(caplog: Any) -> None:
    found = []
    for lib, logger in ((fx, "fx"), (jax, None)):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger=logger):
            ran(lib, lambda d, x: d.log("x sums to {}", x.sum()), "jit")
        found.append([(r.getMessage(), r.levelno) for r in caplog.records if "sums" in r.getMessage()])
    assert found[0] == found[1] == [("x sums to -0.25", logging.INFO)]


def test_a_breakpoint_shows_the_values_of_the_frame(monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """JAX's prompt and ours print the same value, and the program goes on afterwards."""
    import code

    import jax._src.debugger.cli_debugger as cli

    def program(lib: Any) -> Any:
        def f(x: Any) -> Any:
            lib.debug.breakpoint()
            return 2 * x

        return lib.jit(f)(X)

    texts = []
    monkeypatch.setattr("builtins.input", lambda prompt="": next(lines))
    lines = iter(["print('found', x.sum())"])

    def interact(banner: str, local: Any, exitmsg: str) -> None:
        code.InteractiveConsole(local).push(next(lines))

    monkeypatch.setattr("code.interact", interact)
    np.testing.assert_array_equal(program(fx), 2 * X)
    texts.append(capsys.readouterr().out)
    typed = io.StringIO("p float(x.sum())\nc\n")
    monkeypatch.setattr(cli.sys, "stdin", typed)
    debugger = cli.CliDebugger.__init__

    def quiet(self: Any, *args: Any, **kwargs: Any) -> None:
        debugger(self, *args, **{**kwargs, "stdin": typed})
        self.use_rawinput = False

    monkeypatch.setattr(cli.CliDebugger, "__init__", quiet)
    np.testing.assert_array_equal(program(jax), 2 * X)
    texts.append(capsys.readouterr().out)
    assert [re.findall(r"-0\.25", t) for t in texts] == [["-0.25"]] * 2


def test_no_function_is_left_out() -> None:
    assert set(NAMESPACES["debug"].present()) == {"breakpoint", "callback", "log", "print"}


def test_a_format_that_is_no_string_is_named() -> None:
    with pytest.raises(TreeError, match="takes a format string first"):
        fx.debug.print(X)
