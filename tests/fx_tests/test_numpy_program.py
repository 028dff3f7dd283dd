"""``@fx.numpy_program``: NumPy programs that make their own buffers."""

from __future__ import annotations

import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest
from numpy import mean as average
from numpy import sin as wave
from numpy import zeros as make_zeros
from numpy.linalg import norm as length
from numpy_harness import close

import fx
from fx.errors import ConcretizationError, SideEffectError, SideEffectWarning, UnsupportedFunctionError

X = np.array([0.5, -1.0, 2.0, 1.5])
COUNT = 0


def scale(u: Any, w: float = 2.0) -> Any:
    out = np.empty(len(u))
    for i in np.arange(len(u)):
        out[i] = w * u[i]
    return out


def factorial(n: int, u: Any) -> Any:
    return np.ones(1) if n == 0 else factorial(n - 1, u) * u[n - 1]


@fx.numpy_program
def filled(x: Any) -> Any:
    n = len(x)
    out = np.zeros((n, 2))
    counts = make_zeros(n, dtype=int)
    for i in range(n):
        out[i, 0] = np.sin(x[i])
        counts[i] += i
        out[i, 1] = scale(x)[i]
    return out, counts


@fx.numpy_program
def made(x: Any) -> Any:
    a = np.array([x[0], 1.0, 2.0])
    a[1] += x[1]
    b = np.full((2, 2), 3.0)
    b[0] = x[:2]
    c = np.eye(3)
    c[0, 1:] = x[1]
    d = np.asarray(x) + np.ones_like([1.0, 2, 3, 4])
    e = np.full(2, x[2])
    e[0] = 0
    f = np.zeros_like(np.ones((2, 3)))
    f[:, 1] = x[3]
    g = np.identity(2) * x[0]
    h = np.array([[x[0], x[1]], [x[2], x[3]]]).T
    h[0] *= 2
    k = np.linspace(0.0, 1.0, 4) * x
    m = np.array([1.0, 2.0])
    m[1] = x[0]
    return a, b, c, d, e, f, g, h, k, m, np.ascontiguousarray(x)[::2], np.array(5.0) + x[0]


@fx.numpy_program
def loops(x: Any) -> Any:
    total, order = 0.0, np.arange(len(x))[::-1]
    for j in order:
        total += x[j] * int(j) if j % 2 == 0 else 0.0
    mask = np.zeros(len(x), dtype=bool)
    mask[::2] = True
    count = np.array([0, 2, 1])
    while count[0] < 3:
        count[0] += 1
    return total, x[mask], x[order], x[count[:2]]


@fx.numpy_program
def nested(x: Any) -> Any:
    import numpy
    from numpy import ones

    weights = ones(2)

    def inner(y: Any) -> Any:
        out = numpy.zeros(2)
        out[0] = y.sum()
        out[1] = out[0] * weights[1]
        return out

    first = inner(x) + factorial(3, x)
    return first, [inner(v * x) for v in np.array([1.0, 2.0])], isinstance(x, np.ndarray)


@fx.numpy_program
def bracketed(x: Any) -> Any:
    rows, cols = np.mgrid[0:2, 0:2]
    rows[0] += 5
    thin = np.ogrid[0:2, 0:1:3j]
    design = np.c_[np.ones(len(x)), x, np.arange(4)]
    return design, np.r_[x[:2], 0.0, x[2]], np.r_[1:3], rows * x[0], cols, thin[0] * x[1] + thin[1]


@fx.numpy_program
def pivoted(x: Any) -> Any:
    a = np.vander(np.sin(x) + np.array([0.0, 0.4, 0.9, 1.5]))
    for k in range(3):
        p = k + np.argmax(np.abs(a[k:, k]))
        a[[k, p]] = a[[p, k]]
        a[k + 1 :] -= np.outer(a[k + 1 :, k] / a[k, k], a[k])
    return a, a[[[0, 1], [p, 0]], [[0, p], [1, 1]]]


@pytest.mark.parametrize("f", [filled, made, loops, nested, bracketed, pivoted], ids=lambda f: f.__name__)
def test_programs_are_traced_as_they_stand(f: Any) -> None:
    want = f(X.copy())
    assert not any(isinstance(v, fx.Array) for v in fx.tree.leaves(want))
    with fx.config.using(backend="reference"):
        got = fx.jit(f)(X)
    close(got, want)
    for g, w in zip(fx.tree.leaves(got), fx.tree.leaves(want)):
        assert np.asarray(g).dtype == np.asarray(w).dtype
    close(fx.vmap(f)(np.stack([X, 2 * X])), fx.tree.map(lambda *v: np.stack(v), f(X), f(2 * X)))

    def loss(x: Any) -> Any:
        return sum(np.sum(v**2) for v in fx.tree.leaves(f(x)) if getattr(v, "dtype", bool) == np.float64)

    slopes = [(loss(X + 1e-6 * e) - loss(X - 1e-6 * e)) / 2e-6 for e in np.eye(4)]
    np.testing.assert_allclose(np.asarray(fx.grad(loss)(X)), slopes, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(np.asarray(fx.jit(fx.grad(loss), backend="reference")(X)), slopes, rtol=1e-6, atol=1e-7)


def test_float32_stays_where_numpy_keeps_it() -> None:
    @fx.numpy_program
    def f(x: Any) -> Any:
        out = np.empty(x.shape, x.dtype)
        out[:] = x * 2
        return out, np.zeros(2) + x[0], np.zeros_like(x)

    want = f(X.astype(np.float32))
    for g, w in zip(fx.jit(f, backend="reference")(X.astype(np.float32)), want):
        assert g.dtype == w.dtype


def test_helpers_of_the_user_s_modules_and_closures(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("front_helpers")
    module.__file__ = str(tmp_path / "front_helpers.py")
    source = "import numpy as np\ndef twice(u):\n    out = np.zeros(len(u))\n    out[:] = u\n    return out + out\n"
    exec(compile(source, module.__file__, "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "front_helpers", module)
    step = lambda u: module.twice(u) + scale(u)  # noqa: E731

    @fx.numpy_program
    def f(x: Any, g: Any = scale) -> Any:
        import front_helpers

        return step(x) + front_helpers.twice(x) * g(x, w=3.0)

    close(fx.jit(f, backend="reference")(X), f(X))
    assert type(module.twice(X)) is np.ndarray and type(np.zeros(3)) is np.ndarray  # nothing was patched


def test_programs_inside_of_programs_and_transforms() -> None:
    def outer(x: Any) -> Any:
        return fx.vmap(lambda v: filled(v * np.ones(4))[0][:, 1])(x) + fx.jit(lambda v: filled(v)[0][0, 0])(x)

    close(fx.jit(outer, backend="reference")(X), 2 * X[:, None] * np.ones(4) + np.sin(X[0]))
    hessian = fx.hessian(lambda x: np.sum(filled(x)[0] ** 2))(X)
    close(hessian, np.diag(2 * np.cos(2 * X) + 8.0))


def test_like_makes_a_traced_buffer() -> None:
    def f(x: Any) -> Any:
        a, b = np.zeros(3, like=x), np.array([1.0, 2.0], like=x)
        a[0], b[1] = x[1], x[0]
        c, d = np.full((2, 2), 7, like=x), np.eye(2, like=x)
        c[0, 0], d[1] = 5, x[2]
        return (
            a,
            b,
            c,
            d,
            np.arange(3, like=x),
            np.asarray([1, 2], like=x),
            np.identity(2, like=x),
            np.ones(1, np.float32, like=x),
        )

    def plain(x: Any) -> Any:
        return f(x)

    close(fx.jit(f, backend="reference")(X), plain(X))
    slopes = [(np.sum(f(X + 1e-6 * e)[1]) - np.sum(f(X - 1e-6 * e)[1])) / 2e-6 for e in np.eye(4)]
    np.testing.assert_allclose(np.asarray(fx.grad(lambda x: np.sum(f(x)[1]))(X)), slopes, atol=1e-8)


# --------------------------------------------------------------------------------- what goes wrong by name


def test_without_the_decorator_the_error_names_it() -> None:
    def item(x: Any) -> Any:
        out = np.zeros(2)
        out[0] = x[0]
        return out

    def part(x: Any) -> Any:
        out = np.zeros(4)
        out[:] = x
        return out

    for f in (item, part):
        for g in (fx.jit(f), lambda x, f=f: fx.grad(lambda v: np.sum(f(v)))(x)):
            with pytest.raises(SideEffectError, match="numpy_program"):
                g(X)
        close(fx.jit(fx.numpy_program(f), backend="reference")(X), f(X))
    with pytest.raises(ConcretizationError, match="numpy_program"):
        fx.jit(lambda x: np.array([x[0], x[1]]))(X)


def test_random_numbers() -> None:
    @fx.numpy_program
    def f(x: Any) -> Any:
        return x + np.random.normal(size=4)

    @fx.numpy_program
    def g(x: Any) -> Any:
        np.random.shuffle(x)
        return x

    rng = np.random.default_rng(0)

    @fx.numpy_program
    def generator(x: Any) -> Any:
        return x + rng.normal(size=4)

    assert f(X).shape == generator(X).shape == (4,)
    for h in (f, g, generator):
        with pytest.raises(
            SideEffectError, match=r"np\.random\.(normal|shuffle|Generator.normal) inside a traced program"
        ):
            fx.jit(h)(X)
    with pytest.warns(SideEffectWarning, match="np.random was used while jit traced"):
        fx.jit(lambda x: x + np.random.rand(4), backend="reference")(X)
    with pytest.raises(SideEffectError, match="shuffle"), pytest.warns(UserWarning, match="shuffl"):
        fx.jit(lambda x: (np.random.shuffle(x), x)[1])(X)


@pytest.mark.parametrize(("body", "warns"), [("np.random.Generator", False), ("np.random.rand()", True)])
def test_naming_numpy_s_random_numbers_for_the_first_time_draws_none(body: str, warns: bool) -> None:
    """NumPy loads the module when it is first named, and seeds it then."""
    program = (
        "import sys, warnings, numpy as np, fx\n"
        "assert 'numpy.random' not in sys.modules\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        f"    fx.jit(lambda x: ({body}, x)[1], backend='reference')(1.0)\n"
        "print(len(seen))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(int(warns))


def test_global_variables() -> None:
    @fx.numpy_program
    def f(x: Any) -> Any:
        global COUNT
        COUNT += 1
        return x

    f(X)
    assert COUNT == 1
    with pytest.raises(SideEffectError, match="'COUNT'"):
        fx.jit(f)(X)


def test_arguments_that_are_not_differentiated_are_buffers_too() -> None:
    @fx.numpy_program
    def f(x: Any, buffer: Any, rows: Any) -> Any:
        buffer[0] = x[0] * 2
        rows[0] += 1
        return np.sum(buffer * x) + x[rows[0]]

    buffer, rows = np.ones(4), np.array([1, 2])
    np.testing.assert_allclose(np.asarray(fx.grad(f)(X, buffer, rows)), [4 * X[0], 1, 2, 1])
    assert buffer.tolist() == [1, 1, 1, 1] and rows.tolist() == [1, 2]


def test_functions_of_math_and_vectorize() -> None:
    import math
    from math import sqrt

    @fx.numpy_program
    def f(x: Any) -> Any:
        out = np.empty(len(x))
        for i in range(len(x)):
            out[i] = math.sin(x[i]) + sqrt(abs(x[i])) * math.pi + math.sqrt(2.0) + math.floor(1.5)
        return out, np.vectorize(lambda v: v * v + math.exp(v))(x)

    close(fx.jit(f, backend="reference")(X), f(X))
    np.testing.assert_allclose(
        np.asarray(fx.grad(lambda x: np.sum(f(x)[0]))(X)), np.cos(X) + np.sign(X) * np.pi / (2 * np.sqrt(np.abs(X)))
    )


def test_a_number_made_of_a_traced_value_keeps_its_derivative_or_says_so() -> None:
    with pytest.raises(ConcretizationError, match=r"x\.astype\(np\.float64\)"):
        fx.grad(lambda x: np.float64(x) * 2)(3.0)
    assert float(fx.grad(lambda x: np.float64(float(x)) * 2 * x)(3.0)) == 6.0


def test_max_and_min_of_python() -> None:
    @fx.numpy_program
    def longest(seq: Any) -> Any:
        table = np.zeros((len(seq), len(seq)), dtype=int)
        for i in range(len(seq) - 1, -1, -1):
            for j in range(i + 1, len(seq)):
                table[i, j] = max(table[i, j - 1], table[i + 1, j] if i + 1 < len(seq) else 0)
                pair = np.where(seq[i] + seq[j] == 3, 1, 0)
                table[i, j] = max(table[i, j], (table[i + 1, j - 1] if i < j - 1 else 0) + pair)
        return table, max(3, 4), min([2, 1]), max([], default=7)

    seq = np.array([0, 1, 2, 3, 1, 2])
    close(fx.jit(longest, backend="reference")(seq), longest(seq))
    extremes = fx.numpy_program(lambda x: (max(x[0], x[1]) * min(x[2], x[3], 1.0), max(v for v in x), min(x)))
    close(fx.jit(extremes, backend="reference")(X), extremes(X))
    np.testing.assert_allclose(np.asarray(fx.grad(lambda x: extremes(x)[0])(X)), [1.0, 0, 0, 0])


def test_what_is_no_python_function_is_refused() -> None:
    for f in (fx.jit(scale), np.sin, fx.grad(scale), len):
        with pytest.raises(UnsupportedFunctionError, match="fx.jit"):
            fx.numpy_program(f)


def test_methods_and_generators() -> None:
    class Model:
        def __init__(self, w: float) -> None:
            self.w = w

        @fx.numpy_program
        def apply(self, x: Any) -> Any:
            out = np.zeros(len(x))
            for k, v in enumerate(w * self.w for w in x):
                out[k] = v
            return out

    model = Model(3.0)
    close(fx.jit(model.apply, backend="reference")(X), 3 * X)
    close(fx.grad(lambda x: np.sum(model.apply(x) ** 2))(X), 18 * X)


# calls of NumPy's functions with lists of traced numbers, in which NumPy itself sees no traced value
OF_LISTS: dict[str, Any] = {
    "reductions": lambda x: (
        np.mean([x[0], x[1]]) + np.var([x[1], x[2], 0.5]) + np.max([x[0], x[2]]) + np.sum(a=[x[0], x[0]])
    ),
    "rows of a list": lambda x: np.sum([[x[0], 1.0], [x[1], x[2]]], axis=1),
    "sorts": lambda x: np.median([x[0], x[1], x[2]]) * np.sort((x[2], x[0])),
    "products": lambda x: np.dot([x[0], x[1]], [1.0, 2.0]) + np.outer([x[0], x[1]], [x[2], 1.0]),
    "append": lambda x: np.append([x[0], 2.0], [x[1]]),
    "linalg": lambda x: np.linalg.norm([x[0], x[1]]) + np.linalg.det([[x[0], 1.0], [x[1], x[2]]]),
    "fft": lambda x: np.abs(np.fft.fft([x[0], x[1], 2.0])),
    "ufuncs": lambda x: np.hypot([x[0], x[1]], [1.0, x[2]]) + np.exp([x[0], 0.5]),
    "names": lambda x: average([x[0], x[1]]) + length([x[1], x[2]]) + wave([x[0]]),
    "a ufunc keeps its methods": lambda x: np.add.reduce(x) + np.maximum.accumulate(x) + np.multiply.outer(x, x),
}


@pytest.mark.parametrize("name", OF_LISTS)
def test_lists_of_traced_numbers(name: str) -> None:
    f, x = fx.numpy_program(OF_LISTS[name]), X[:3] + 1.25
    want = OF_LISTS[name](x)
    close(fx.jit(f, backend="reference")(x), want)
    value, slope = fx.jvp(f, (x,), (np.ones(3),))
    close(value, want)
    e = 1e-6
    close(slope, (OF_LISTS[name](x + e) - OF_LISTS[name](x - e)) / (2 * e), tol=1e-6)


def test_functions_of_numpy_are_equal_to_themselves_in_a_program() -> None:
    f = fx.numpy_program(lambda x: x * (np.sin is np.sin) * (np.mean is average) * (np.linalg.norm is length))
    close(fx.jit(f, backend="reference")(X), X)
