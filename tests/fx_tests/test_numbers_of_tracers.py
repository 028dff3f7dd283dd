"""What asks a traced value for its number: where the derivative would silently be lost it is refused."""

from __future__ import annotations

import cmath
import math
import math as m
from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx.errors import ConcretizationError


def local_name(x: Any) -> Any:
    f = math.sqrt
    return x * f(x)


def local_import(x: Any) -> Any:
    import math as inner  # noqa: PLC0415  # the case

    return x * inner.cos(x)


def in_a_helper(x: Any) -> Any:
    def helper(v: Any) -> float:
        return 1 + 2 * math.atan2(v, 3.0)

    return x * helper(x * 2)


def in_a_loop(x: Any) -> Any:
    return sum([x * math.log(v) for v in (x, x + 1)])


def two_local_names(x: Any) -> Any:
    y = 3.0
    f = math.atan2
    return x * f(x, y)


def in_an_except_clause(x: Any) -> Any:
    try:
        raise KeyError
    except KeyError:
        y = 2.0
        return x * math.pow(x, y if x > 0 else 3.0)


def of_many_names(x: Any) -> Any:
    scope: dict[str, Any] = {"math": math}
    names = "".join(f"    if x < 0: x.a{k}\n" for k in range(300))
    exec(compile(f"def f(x):\n{names}    f = math\n    return x * f.sin(x)", __file__, "exec"), scope)  # noqa: S102
    return scope["f"](x)


LOSES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "math.f": (lambda x: x * math.sin(x), r"math\.sin .*Use np\.sin; .*math\.sin\(float\(x\)\)"),
    "another name of math": (lambda x: x * m.tanh(x), r"math\.tanh"),
    "from math import": (lambda x: x * exp(x), r"math\.exp .*np\.exp"),
    "a local name": (local_name, r"math\.sqrt"),
    "a local import": (local_import, r"math\.cos"),
    "a helper": (in_a_helper, r"math\.atan2 .*np\.atan2"),
    "a comprehension": (in_a_loop, r"math\.log"),
    "second argument": (lambda x: x * math.pow(2.0, x), r"math\.pow"),
    "beside a call": (lambda x: x * math.hypot(abs(-1.0), x), r"math\.hypot"),
    "a choice": (lambda x: x * math.sin(x if x > 0 else 1.0), r"math\.sin"),
    "another choice": (lambda x: x * math.sin((x > 1 and 1.0) or x), r"math\.sin"),
    "a choice of functions": (lambda x: x * (math.sin(x) if x > 0 else math.cos(x)), r"math\.sin"),
    "a comprehension inside": (lambda x: x * math.fsum([x for _ in range(2)]), r"math\.fsum"),
    "two local names": (two_local_names, r"math\.atan2"),
    "an except clause": (in_an_except_clause, r"math\.pow"),
    "three hundred names": (of_many_names, r"math\.sin"),
    "spread arguments": (lambda x: x * math.pow(*(x, 2.0)), r"math\.pow"),
    "spread names": (lambda x: x * exp(*[x]), r"math\.exp"),
    "spread keywords": (lambda x: x * math.sin(*[x]), r"math\.sin"),
    "a list": (lambda x: x * math.fsum([1.0, x]), r"math\.fsum .*np\.sum"),
    "cmath": (lambda x: x * cmath.exp(x).real, r"cmath\.exp"),
    "not in NumPy": (lambda x: x * math.lgamma(x), "the function of fx.numpy or fx.scipy.special"),
    "under checkpoint": (fx.checkpoint(lambda x: x * math.sin(x)), r"math\.sin"),
    "closed over by checkpoint": (lambda x: fx.checkpoint(lambda y: y * math.sin(x))(x), r"math\.sin"),
}
LEGITIMATE: dict[str, tuple[Callable[[Any], Any], float]] = {
    "float": (lambda x: x * float(x), 0.5),
    "float in math": (lambda x: x * math.sin(float(x)), math.sin(0.5)),
    "branch": (lambda x: x * 2 if x > 0 and math.isfinite(x) and not math.isnan(x) else x, 2),
    "int": (lambda x: x * (int(x) + math.floor(x) + math.ceil(x)), 1),
    "isclose": (lambda x: x * 3 if math.isclose(x, 0.5) else x, 3),
    "format": (lambda x: x * len(f"{x:.3f}"), 5),
    "a float beside a choice": (lambda x: x * math.sin(float(x) if x > 0 else 1.0), math.sin(0.5)),
    "percent": (lambda x: x * len("%.2f" % x), 4),  # noqa: UP031  # the case
    "stop_gradient": (lambda x: x * math.sin(fx.stop_gradient(x)), math.sin(0.5)),
    "piecewise constant": (lambda x: x * math.exp(fnp.floor(x)), 1),
    "a constant": (lambda x: x * math.exp(fnp.asarray(0.0)), 1),
    "numpy": (lambda x: np.sin(x), math.cos(0.5)),
    "while": (lambda x: x * next(n for n in range(10) if x * 2**n > 3), 3),
}


@pytest.mark.parametrize("name", LOSES)
def test_functions_of_math_would_lose_the_derivative(name: str) -> None:
    f, message = LOSES[name]
    one = np.float64(0.5)
    for run in (lambda: fx.grad(f)(one), lambda: fx.jvp(f, (one,), (one,)), lambda: fx.grad(fx.grad(f))(one)):
        with pytest.raises(ConcretizationError, match=message) as e:
            run()
        assert "test_numbers_of_tracers.py" in str(e.value)
    assert isinstance(float(f(0.5)), float)  # without a derivative there is nothing to lose
    with pytest.raises(ConcretizationError):
        fx.jit(f)(one)


@pytest.mark.parametrize("name", LEGITIMATE)
def test_numbers_that_are_meant(name: str) -> None:
    f, derivative = LEGITIMATE[name]
    assert fx.grad(f)(np.float64(0.5)) == pytest.approx(derivative)


def test_an_argument_that_is_not_differentiated_is_a_number() -> None:
    assert fx.grad(lambda x, y: x * math.exp(y))(1.0, 0.0) == 1


def test_the_function_of_a_custom_rule_may_compute_with_numbers() -> None:
    f = fx.custom_jvp(lambda x: fnp.asarray(math.sin(x)))
    f.defjvp(lambda primals, tangents: (f(*primals), fnp.cos(primals[0]) * tangents[0]))
    assert fx.grad(f)(0.5) == pytest.approx(math.cos(0.5))


def test_code_without_source_is_read_too() -> None:
    scope: dict[str, Any] = {"math": math}
    exec("f = lambda x: x * math.sin(x)", scope)  # noqa: S102
    with pytest.raises(ConcretizationError, match=r"math\.sin"):
        fx.grad(scope["f"])(1.0)
