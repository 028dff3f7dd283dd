"""Every mistake gets its own exception class, which is also the built-in one that a NumPy user expects, and a
message that says what was written, what was found and what to do."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import errors as e

X = np.arange(6.0, dtype=np.float32).reshape(2, 3)

# (id, action, exception, built-in class, pattern)
MISTAKES: list[tuple[str, Any, type, type, str]] = [
    ("shapes", lambda: fnp.asarray(X) + np.ones(4), e.ShapeError, ValueError, r"\(2, 3\).*\(4,\).*broadcast"),
    ("shapes jit", lambda: fx.jit(lambda x: x + np.ones(4))(X), e.ShapeError, ValueError, r"\(2, 3\).*\(4,\)"),
    ("matmul", lambda: fnp.asarray(X) @ X, e.ShapeError, ValueError, r"matmul of shapes \(2, 3\) and \(2, 3\)"),
    ("reshape", lambda: fnp.reshape(X, (4, 2)), e.ShapeError, ValueError, r"\(2, 3\) \(6 elements\).*\(4, 2\)"),
    ("axis", lambda: fnp.sum(X, axis=2), e.AxisError, ValueError, "axis 2 is out of range.*2 dimensions"),
    ("axis index", lambda: fnp.sum(X, axis=2), e.AxisError, IndexError, "axis 2"),
    ("dtype", lambda: fnp.asarray(X) & 1, e.DTypeError, TypeError, "bitwise_and needs integer or boolean"),
    ("unknown dtype", lambda: fnp.zeros(3, "U5"), e.DTypeError, TypeError, "not supported"),
    ("argnums", lambda: fx.grad(lambda x: x, argnums=3)(1.0), e.GradientError, ValueError, "argnums=3.*1 positional argument "),
    ("vector output", lambda: fx.grad(lambda x: x * 2)(X), e.NonScalarOutputError, TypeError, r"shape \(2, 3\).*jacrev"),
    ("tuple output", lambda: fx.grad(lambda x: (x, x))(1.0), e.NonScalarOutputError, ValueError, "has_aux=True"),
    ("integer input", lambda: fx.grad(lambda count: count * 1.0)(3), e.GradientDTypeError, TypeError, "'count'.*allow_int"),
    ("integer output", lambda: fx.grad(lambda x: fnp.argmax(x))(X), e.GradientDTypeError, TypeError, "real floating-point output"),
    ("not a function", lambda: fx.grad(3.0), e.GradientError, TypeError, r"grad\(f\)\(x\)"),
    ("in_axes length", lambda: fx.vmap(lambda x, y: x, in_axes=(0,))(X, X), e.VmapAxisError, ValueError, "1 entries.*2 positional"),
    ("in_axes too deep", lambda: fx.vmap(lambda x: x, in_axes=2)(X), e.VmapAxisError, ValueError, r"x is batched at axis 2.*\(2, 3\)"),
    ("batch sizes", lambda: fx.vmap(lambda x, y: x)(X, X.T), e.VmapAxisError, ValueError, "x: 2, y: 3"),
    ("nothing batched", lambda: fx.vmap(lambda x: x, in_axes=None)(X), e.VmapAxisError, ValueError, "at least one batched"),
    ("out_axes", lambda: fx.vmap(lambda x: x, out_axes=None)(X), e.VmapAxisError, ValueError, "does depend on the batch"),
    ("unhashable static", lambda: fx.jit(lambda x, s: x, static_argnums=1)(X, []), e.NonHashableStaticError, TypeError, "hashable"),
    ("if", lambda: fx.jit(_branch)(X), e.ConcretizationError, TypeError, "(?s)truth value.*'x'.*where"),
    ("float", lambda: fx.jit(lambda x: float(x))(1.0), e.ConcretizationError, TypeError, "a float.*'x'"),
    ("range", lambda: fx.jit(lambda n: [0 for _ in range(n)])(3), e.ConcretizationError, TypeError, "range.*static_argnums"),
    ("asarray", lambda: fx.jit(lambda x: np.asarray(x))(X), e.ConcretizationError, TypeError, "NumPy array"),
    ("boolean mask", lambda: fx.jit(lambda x: x[x > 0])(X), e.ConcretizationError, TypeError, "boolean mask.*where"),
    ("item assignment", lambda: fnp.asarray(X).__setitem__(0, 1), e.ItemAssignmentError, TypeError, r"x\.at\[index\]\.set"),
    ("static index", lambda: fnp.asarray(X)[5], e.OutOfBoundsIndexError, IndexError, "index 5 is out of bounds for axis 0 with size 2"),
    ("static index jit", lambda: fx.jit(lambda x: x[5])(X), e.OutOfBoundsIndexError, IndexError, "index 5 is out of bounds"),
    ("too many indices", lambda: fnp.asarray(X)[0, 0, 0], e.OutOfBoundsIndexError, IndexError, "too many indices"),
    ("float index", lambda: fnp.asarray(X)[fnp.ones(2)], e.DTypeError, TypeError, "integer or boolean"),
    ("unsupported", lambda: fx.jit(lambda x: np.busday_count(x, x))(X), e.UnsupportedFunctionError, TypeError, "np.busday_count|numpy.busday_count"),
    ("out= of ndarray", lambda: fx.jit(lambda x: np.add(x, 1, out=np.zeros((2, 3))))(X), e.SideEffectError, RuntimeError, "out="),
    ("string", lambda: fx.jit(lambda x: x)("text"), e.TreeError, ValueError, "x of the jitted function.*static_argnums"),
    ("string output", lambda: fx.jit(lambda x: "text")(1.0), e.TreeError, ValueError, "output"),
    ("tangent shape", lambda: fx.jvp(np.sin, (X,), (np.ones(3, np.float32),)), e.ShapeError, ValueError, r"tangent \(3,\)"),
    ("tangent dtype", lambda: fx.jvp(np.sin, (X,), (X.astype(np.float64),)), e.DTypeError, TypeError, "float32.*float64"),
    ("tangent tree", lambda: fx.jvp(lambda x: x["a"], ({"a": X},), (X,)), e.TreeError, ValueError, "structure"),
    ("primals", lambda: fx.jvp(np.sin, X, X), e.TreeError, ValueError, "tuple or list"),
    ("cotangent", lambda: fx.vjp(np.sin, X)[1](np.ones(3, np.float32)), e.ShapeError, ValueError, r"\(3,\).*\(2, 3\)"),
    ("axis name", lambda: fx.lax.psum(X, "i"), e.AxisNameError, NameError, "'i'"),
    ("unknown shape", lambda: fx.jit(lambda n: fnp.zeros(n))(3), e.ConcretizationError, TypeError, "static_argnums"),
    ("unflatten", lambda: fx.tree.unflatten(fx.tree.structure([1, 2]), [1]), e.TreeError, ValueError, "2 leaves; 1"),
    ("tree.map", lambda: fx.tree.map(lambda a, b: a, {"a": 1}, {"b": 1}), e.TreeError, ValueError, "'a'"),
    ("duplicate pytree", lambda: fx.tree.register_pytree_node(list, None, None), e.RegistryError, RuntimeError, "already"),
]  # fmt: skip


def _branch(x: Any) -> Any:
    return x if x.sum() > 0 else -x


@pytest.mark.parametrize("action, error, builtin, pattern", [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistake(action: Any, error: type, builtin: type, pattern: str) -> None:
    with pytest.raises(error, match=pattern) as caught:
        action()
    assert isinstance(caught.value, builtin)
    assert isinstance(caught.value, e.FxError)


def user_function(x: Any) -> Any:
    y = fnp.sin(x)
    return y @ y  # the mistake


def test_errors_name_the_users_line() -> None:
    with pytest.raises(e.ShapeError) as caught:
        fx.jit(user_function)(X)
    frames = traceback.extract_tb(caught.value.__traceback__)
    lines = [f.line for f in frames]
    assert any("the mistake" in (line or "") for line in lines)


def test_tracebacks_show_the_users_frames_only() -> None:
    own = fx.__file__.rsplit("/", 1)[0]
    with pytest.raises(e.ShapeError) as caught:
        fx.grad(fx.jit(user_function))(X)
    hidden = [f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename.startswith(own)]
    assert len(hidden) <= 1  # the entry point itself
    with fx.config.using(traceback="full"), pytest.raises(e.ShapeError) as caught:
        fx.grad(fx.jit(user_function))(X)
    assert len([f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename.startswith(own)]) > 5


def test_exceptions_of_the_user_pass_through() -> None:
    def f(x: Any) -> Any:
        raise KeyError("mine")

    for transform in (fx.jit, fx.grad, fx.vmap, fx.jacfwd):
        with pytest.raises(KeyError, match="mine"):
            transform(f)(X)
    assert float(fx.jit(lambda x: x + 1)(1.0)) == 2.0  # a trace that failed leaves nothing behind


def test_every_exception_class_is_listed_and_derived() -> None:
    classes = [v for v in vars(e).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert {c.__name__ for c in classes} == set(e.__all__)
    for c in classes:
        assert c.__doc__ and (issubclass(c, e.FxError) or issubclass(c, Warning))
        if c is not e.FxError:
            assert any(
                b for b in c.__mro__[1:] if b.__module__ == "builtins" and b not in (Exception, BaseException, object)
            )
