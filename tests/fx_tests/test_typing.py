"""What editors, notebooks and type checkers are told is what is there."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import nn, random
from fx.array import Array
from fx.numpy import methods

ROOT = Path(fx.__file__).parent


def _declared() -> dict[str, ast.FunctionDef]:
    (cls,) = [n for n in ast.parse((ROOT / "array_methods.pyi").read_text()).body if isinstance(n, ast.ClassDef)]
    return {n.name: n for n in cls.body if isinstance(n, ast.FunctionDef)}


def _installed() -> set[str]:
    class Empty:
        pass

    before = set(vars(Empty))
    methods.install(Empty)
    return (set(vars(Empty)) - before) | {"T", "__getitem__", "__setitem__"}


def test_the_stub_declares_what_arrays_are_given() -> None:
    assert set(_declared()) == _installed()


@pytest.mark.parametrize("name", sorted(n for n in _declared() if not n.startswith("_")))
def test_the_stub_has_the_arguments_of_a_method(name: str) -> None:
    here, there = _declared()[name], inspect.getattr_static(Array, name)
    if isinstance(there, property):
        assert [d.id for d in here.decorator_list] == ["property"]
        return
    a = here.args
    told = [x.arg for x in (*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs)]
    told += [a.kwarg.arg] if a.kwarg else []
    assert told[1:] == list(inspect.signature(there).parameters)[1:]


def test_methods_show_their_arguments() -> None:
    assert list(inspect.signature(fnp.ones(3).sum).parameters)[:4] == ["axis", "dtype", "out", "keepdims"]


def test_every_public_name_is_exported_to_type_checkers() -> None:
    (block,) = [n for n in ast.parse((ROOT / "__init__.py").read_text()).body if isinstance(n, ast.If)]
    exported = {x.asname for n in block.body for x in n.names if x.name == x.asname}
    assert exported | {"__version__", "config"} == set(fx.__all__)


def test_every_room_is_reached_from_fx() -> None:
    rooms = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    inside = {"_frozen", "api", "examples", "passes", "primitives", "sizes", "staging", "trace", "transforms"}
    assert rooms - inside <= set(fx.__all__)
    assert callable(fx.train.make_step) and callable(fx.viz.saliency)


@pytest.mark.parametrize(
    "cls", [c for c in map(nn.__dict__.get, nn.__all__) if isinstance(c, type) and issubclass(c, nn.Module)]
)
def test_layers_show_the_arguments_that_they_take(cls: type) -> None:
    shown = inspect.signature(cls)
    assert list(shown.parameters) == list(inspect.signature(cls.__init__).parameters)[1:]
    assert "self" not in shown.parameters
    if cls.__module__.endswith(("convolution", "recurrent", "linear", "norms", "pooling")):
        assert not {p.kind for p in shown.parameters.values()} & {
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        }


def test_an_object_shows_the_arguments_of_its_call() -> None:
    layer = nn.Linear(2, 3, key=random.key(0))
    assert list(inspect.signature(layer).parameters) == ["x"]
    assert layer(np.ones((4, 2), np.float32)).shape == (4, 3)


def test_a_class_that_keeps_its_base_s_init() -> None:
    class Wide(nn.Linear, init=False):
        pass

    assert Wide(2, 3, key=random.key(0))(np.ones((1, 2), np.float32)).shape == (1, 3)
    assert "in_features" in inspect.signature(Wide).parameters
