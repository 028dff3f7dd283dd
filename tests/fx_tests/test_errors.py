"""Every mistake gets its own exception class, which is also the built-in one that a NumPy user expects, and a
message that says what was written, what was found and what to do."""

from __future__ import annotations

import copy
import pickle
import sys
import traceback
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
import fx.scipy.linalg
import fx.scipy.special
import fx.scipy.stats
from fx import errors as e
from fx.trace import state

X = np.arange(6.0, dtype=np.float32).reshape(2, 3)

# (id, action, exception, built-in class, pattern)
MISTAKES: list[tuple[str, Any, type, type, str]] = [
    ("shapes", lambda: fnp.asarray(X) + np.ones(4), e.ShapeError, ValueError, r"broadcasting: \(2, 3\), \(4,\)"),
    ("shapes jit", lambda: fx.jit(lambda x: x + np.ones(4))(X), e.ShapeError, ValueError, r"\(2, 3\).*\(4,\)"),
    ("matmul", lambda: fnp.asarray(X) @ X, e.ShapeError, ValueError, r"matmul of shapes \(2, 3\) and \(2, 3\)"),
    ("reshape", lambda: fnp.reshape(X, (4, 2)), e.ShapeError, ValueError, r"\(2, 3\), which has 6 elements, to \(4, 2\)"),
    ("axis", lambda: fnp.sum(X, axis=2), e.AxisError, ValueError, "axis 2 is out of range.*2 dimensions"),
    ("axis index", lambda: fnp.sum(X, axis=2), e.AxisError, IndexError, "axis 2"),
    ("dtype", lambda: fnp.asarray(X) & 1, e.DTypeError, TypeError, "bitwise_and needs integer or boolean"),
    ("unknown dtype", lambda: fnp.zeros(3, "U5"), e.DTypeError, TypeError, "not supported"),
    ("argnums", lambda: fx.grad(lambda x: x, argnums=3)(1.0), e.GradientError, ValueError, "argnums=3.*1 positional argument "),
    ("vector output", lambda: fx.grad(lambda x: x * 2)(X), e.NonScalarOutputError, TypeError, r"shape \(2, 3\).*jacrev"),
    ("tuple output", lambda: fx.grad(lambda x: (x, x))(1.0), e.NonScalarOutputError, ValueError, "has_aux=True"),
    ("integer input", lambda: fx.grad(lambda count: count * 1.0)(3), e.GradientDTypeError, TypeError, "'count'.*allow_int"),
    ("integer output", lambda: fx.grad(lambda x: fnp.argmax(x))(X), e.GradientDTypeError, TypeError, "real floating-point output"),
    ("argnums text", lambda: fx.grad(lambda x: x, argnums="x")(1.0), e.ArgnumsError, TypeError, "int or a sequence of ints; found 'x'"),
    ("argnums float", lambda: fx.grad(lambda x: x, argnums=1.0)(1.0), e.ArgnumsError, ValueError, r"found 1\.0"),
    ("argnums None", lambda: fx.jacrev(lambda x: x, argnums=None)(1.0), e.ArgnumsError, ValueError, "found None"),
    ("argnums twice", lambda: fx.grad(lambda x, y: x, argnums=(0, 0))(1.0, 2.0), e.ArgnumsError, ValueError, "twice"),
    ("no positional argument", lambda: fx.grad(lambda x: x)(x=1.0), e.ArgnumsError, ValueError, "called with 0 positional"),
    ("grad of a number", lambda: fx.grad(3.0), e.NotAFunctionError, TypeError, r"grad takes a function; found float: 3\.0.*grad\(f\)\(x\)"),
    ("jvp of a number", lambda: fx.jvp(3, (1.0,), (1.0,)), e.NotAFunctionError, TypeError, "jvp takes a function; found int"),
    ("vjp of a number", lambda: fx.vjp(3, 1.0), e.NotAFunctionError, TypeError, "vjp takes a function"),
    ("vmap of an array", lambda: fx.vmap(X), e.NotAFunctionError, TypeError, "vmap takes a function; found ndarray"),
    ("jit of an array", lambda: fx.jit(X), e.NotAFunctionError, TypeError, "jit takes a function.*decorator"),
    ("hessian of a number", lambda: fx.hessian(3), e.NotAFunctionError, TypeError, "hessian takes a function"),
    ("checkpoint of a number", lambda: fx.checkpoint(3), e.NotAFunctionError, TypeError, "checkpoint takes a function"),
    ("checkpoint policy", lambda: fx.checkpoint(np.sin, policy="all"), e.NotAFunctionError, TypeError, "policy.*'all'.*checkpoint_policies"),
    ("make_graph of a number", lambda: fx.make_graph(3)(1.0), e.NotAFunctionError, TypeError, "make_graph takes a function"),
    ("scan of a number", lambda: fx.lax.scan(3, 0.0, X), e.NotAFunctionError, TypeError, "scan takes a function"),
    ("while_loop of a number", lambda: fx.lax.while_loop(True, lambda c: c, 0.0), e.NotAFunctionError, TypeError, "condition of while_loop"),
    ("vectorize of a number", lambda: fnp.vectorize(3)(X), e.NotAFunctionError, TypeError, "vectorize takes a function"),
    ("vjp called with two", lambda: fx.vjp(np.sin, X)[1](X, X), e.TreeError, ValueError, "takes one cotangent.*called with 2"),
    ("transpose of a product", lambda: fx.linear_transpose(lambda x: x * x, X)(X), e.NonLinearError, TypeError, r"(?s)its mul is not linear.*test_errors\.py"),
    ("nonlinear jvp rule", lambda: fx.grad(_with_jvp(lambda p, t: (p[0], t[0] * t[0])))(1.0), e.NonLinearError, TypeError, "linear in the tangents"),
    ("stop_gradient of text", lambda: fx.lax.stop_gradient("a"), e.TreeError, ValueError, r"str \('a'\)"),
    ("in_axes length", lambda: fx.vmap(lambda x, y: x, in_axes=(0,))(X, X), e.VmapAxisError, ValueError, "1 entry, .*2 positional arguments"),
    ("in_axes too deep", lambda: fx.vmap(lambda x: x, in_axes=2)(X), e.VmapAxisError, ValueError, r"x is batched at axis 2.*\(2, 3\)"),
    ("batch sizes", lambda: fx.vmap(lambda x, y: x)(X, X.T), e.VmapAxisError, ValueError, "x: 2, y: 3"),
    ("axis_size", lambda: fx.vmap(lambda x: x, in_axes=None, axis_size=-1)(X), e.VmapAxisError, ValueError, "axis_size.*found -1"),
    ("axis_size text", lambda: fx.vmap(lambda x: x, in_axes=None, axis_size="3")(X), e.VmapAxisError, ValueError, "axis_size.*found '3'"),
    ("axis_name list", lambda: fx.vmap(lambda x: x, axis_name=["i"]), e.VmapAxisError, ValueError, "axis_name must be hashable"),
    ("in_axes dict", lambda: fx.vmap(lambda d: d["a"], in_axes={"a": 0}), e.VmapAxisError, ValueError, r"one entry per argument; .*in_axes=\(\{'a': 0\},\)"),
    ("nothing returned", lambda: fx.grad(lambda x: None)(1.0), e.NonScalarOutputError, ValueError, "returned None.*return statement"),
    ("in_axes text", lambda: fx.vmap(lambda x: x, in_axes="0"), e.VmapAxisError, ValueError, "in_axes must be an int.*'0'"),
    ("in_axes keys", lambda: fx.vmap(lambda d: d["a"], in_axes=({"b": 0},))({"a": X}), e.VmapAxisError, ValueError, "not a prefix of the arguments"),
    ("out_axes tree", lambda: fx.vmap(lambda x: x, out_axes=(0, 0))(X), e.VmapAxisError, ValueError, "not a prefix of the output"),
    ("nothing batched", lambda: fx.vmap(lambda x: x, in_axes=None)(X), e.VmapAxisError, ValueError, "at least one batched"),
    ("out_axes", lambda: fx.vmap(lambda x: x, out_axes=None)(X), e.VmapAxisError, ValueError, "does depend on the batch"),
    ("unhashable static", lambda: fx.jit(lambda x, s: x, static_argnums=1)(X, []), e.NonHashableStaticError, TypeError, "hashable"),
    ("static_argnums text", lambda: fx.jit(lambda x: x, static_argnums="x"), e.StaticArgumentError, ValueError, "found .*'x'.*static_argnames"),
    ("static_argnums float", lambda: fx.jit(lambda x: x, static_argnums=1.5), e.StaticArgumentError, ValueError, r"1\.5"),
    ("static_argnames int", lambda: fx.jit(lambda x: x, static_argnames=3), e.StaticArgumentError, ValueError, "string.*3"),
    ("static_argnames unknown", lambda: fx.jit(lambda x: x, static_argnames="zz"), e.StaticArgumentError, ValueError, "'zz', which <lambda>.x. does not have"),
    ("static array", lambda: fx.jit(lambda x: x, static_argnums=0)(X), e.NonHashableStaticError, TypeError, r"\('x'\).*is an array"),
    ("donated", lambda: _donate(fnp.ones(3)) + 1, e.DeletedArrayError, RuntimeError, "donated to a jitted function"),
    ("compiled for another shape", lambda: fx.jit(lambda x: x).lower(X).compile()(X.T), e.StaticArgumentError, ValueError, r"f32\[2,3\] as x; called with f32\[3,2\]"),
    ("key of a dict", lambda: fx.jit(lambda x: {1: 2}[x])(1), e.ConcretizationError, TypeError, "hash.*'x'.*static_argnums"),
    ("pickle of a tracer", lambda: fx.jit(lambda x: pickle.dumps(x))(X), e.SideEffectError, RuntimeError, "cannot be pickled.*jit"),
    ("del of a tracer", lambda: fx.jit(_delete_item)(X), e.ItemAssignmentError, TypeError, "del x"),
    ("if under vmap", lambda: fx.vmap(lambda x: x if x > 0 else -x)(X[0]), e.ConcretizationError, TypeError, r"(?s)the truth value.*vmap traces.*depends on the value\.$"),
    ("if", lambda: fx.jit(_branch)(X), e.ConcretizationError, TypeError, "(?s)truth value.*'x'.*where"),
    ("float", lambda: fx.jit(lambda x: float(x))(1.0), e.ConcretizationError, TypeError, "a float.*'x'"),
    ("range", lambda: fx.jit(lambda n: [0 for _ in range(n)])(3), e.ConcretizationError, TypeError, "range.*static_argnums"),
    ("asarray", lambda: fx.jit(lambda x: np.asarray(x))(X), e.ConcretizationError, TypeError, "NumPy array"),
    ("boolean mask", lambda: fx.jit(lambda x: x[x > 0])(X), e.ConcretizationError, TypeError, "boolean mask.*where"),
    ("item assignment", lambda: fnp.asarray(X).__setitem__(0, 1), e.ItemAssignmentError, TypeError, r"x\.at\[index\]\.set"),
    ("item assignment at", lambda: fnp.asarray(X).at.__setitem__(0, 1), e.ItemAssignmentError, TypeError, r"x\.at\[index\]\.set"),
    ("item deletion", lambda: _delete_item(fnp.asarray(X)), e.ItemAssignmentError, TypeError, "fx.numpy.delete"),
    ("masked array", lambda: fx.jit(lambda x: x)(np.ma.array(X, mask=X > 2)), e.DTypeError, TypeError, "mask would be lost"),
    ("masked array eagerly", lambda: fnp.sum(np.ma.array(X, mask=X > 2)), e.DTypeError, TypeError, "mask would be lost"),
    ("other byte order", lambda: fx.jit(lambda x: x)(X.astype(">f4")), e.DTypeError, TypeError, r"'>f4'.*astype\('float32'\)"),
    ("huge shape", lambda: fnp.zeros((2**62, 8)), e.ShapeError, ValueError, "no addresses"),
    ("exponent", lambda: fx.lax.integer_pow(X, 1.5), e.DTypeError, TypeError, r"integer_pow.*1\.5.*pow"),
    ("gather numbers", lambda: fx.lax.gather(X, np.zeros((1, 1), int), None, (1, 1)), e.TreeError, ValueError, "GatherDimensionNumbers"),
    ("bins", lambda: fnp.histogram(X, bins=-1), e.ArgumentError, ValueError, "bins must be positive; found -1"),
    ("mode", lambda: fnp.pad(X, 1, mode="bogus"), e.ArgumentError, ValueError, "'bogus'.*reflect"),
    ("option of a ufunc", lambda: fnp.add(X, X, bogus=1), TypeError, TypeError, "add has no option bogus"),
    ("option of a function", lambda: fnp.sum(X, bogus=1), TypeError, TypeError, r"sum\(\) got an unexpected keyword"),
    ("callback structure", lambda: fx.pure_callback(np.sin, (2, 3), X), e.TreeError, ValueError, "ShapeDtypeStruct"),
    ("callback shape", lambda: fx.pure_callback(lambda x: x[0], fx.ShapeDtypeStruct((2, 3), X.dtype), X), e.ShapeError, ValueError, r"\(3,\).*\(2, 3\)"),
    ("format", lambda: fx.debug.print(X), e.TreeError, ValueError, "format string"),
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


def _with_jvp(rule: Any) -> Any:
    f = fx.custom_jvp(lambda x: x)
    f.defjvp(rule)
    return f


def _donate(x: Any) -> Any:
    fx.jit(lambda x: x + 1, donate_argnums=0)(x)
    return x


def _delete_item(x: Any) -> None:
    del x[0]


def _branch(x: Any) -> Any:
    return x if x.sum() > 0 else -x


@pytest.mark.parametrize("action, error, builtin, pattern", [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistake(action: Any, error: type, builtin: type, pattern: str) -> None:
    with pytest.raises(error, match=pattern) as caught:
        action()
    assert isinstance(caught.value, builtin)
    assert isinstance(caught.value, e.FxError) or error is TypeError  # Python's own, of a call that does not fit
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)
    assert len(_own_frames(caught.value)) <= 1  # the entry point itself
    assert state.current is None and not (state.absorbing or state.axes or state.mapped or state.source)


def _own_frames(error: BaseException) -> list[Any]:
    own = fx.__file__.rsplit("/", 1)[0]
    return [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(own)]


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
    with pytest.raises(e.ShapeError) as caught:
        fx.grad(fx.jit(user_function))(X)
    assert len(_own_frames(caught.value)) <= 1  # the entry point itself
    with fx.config.using(traceback="full"), pytest.raises(e.ShapeError) as caught:
        fx.grad(fx.jit(user_function))(X)
    assert len(_own_frames(caught.value)) > 5


def test_an_interrupt_shows_the_users_frames_only_and_leaves_nothing_behind() -> None:
    def interrupted(x: Any) -> Any:
        raise KeyboardInterrupt

    def f(x: Any) -> Any:
        return fx.pure_callback(interrupted, fx.ShapeDtypeStruct((), np.float32), x)

    for call in (fx.jit(fx.grad(interrupted)), fx.jit(f), f):
        with pytest.raises(KeyboardInterrupt) as caught:
            call(np.float32(1))
        assert len(_own_frames(caught.value)) <= 1
        assert state.current is None and not state.absorbing
    assert float(fx.grad(fx.jit(lambda x: x * x))(3.0)) == 6.0


MODULES = [
    fnp,
    fnp.linalg,
    fnp.fft,
    fx.lax,
    fx.lax.linalg,
    fx.random,
    fx.scipy.special,
    fx.scipy.linalg,
    fx.scipy.stats,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_functions_are_pickled_by_the_name_that_users_know(module: Any) -> None:
    for name in module.__all__:
        f = getattr(module, name)
        if isinstance(f, (FunctionType, fnp.ufunc)):
            assert pickle.loads(pickle.dumps(f)) is f, name


@fx.jit
def jitted(x: Any) -> Any:
    return x + 1


def test_jitted_functions_are_pickled_and_copied() -> None:
    assert pickle.loads(pickle.dumps(jitted)) is jitted
    again = pickle.loads(pickle.dumps(fx.jit(user_function, static_argnames="x")))
    assert again.fun is user_function and again.arguments.static_argnames == ("x",)
    assert copy.deepcopy({"f": again})["f"] is again


def test_options_name_themselves_and_their_values() -> None:
    with pytest.raises(e.ArgumentError, match=r"fx.config.traceback = 'bogus'.*'user'"):
        fx.config.traceback = "bogus"
    with pytest.raises(AttributeError, match=r"no option 'tracebak'.*traceback"):
        fx.config.tracebak = "full"


def test_an_array_that_is_gone_can_be_printed() -> None:
    assert "deleted" in repr(_donate(fnp.ones(3))) and "deleted" in str(_donate(fnp.ones(3)))


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


def test_a_cell_of_a_notebook_has_the_name_that_the_notebook_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython makes a file's name for every cell; it tells which cell that is."""
    cells = SimpleNamespace(format_code_name=lambda file: ("Cell", "In[3]") if file == "/tmp/cell.py" else None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(compile=cells)))
    space = {"np": np}
    exec(compile("def f(x):\n    return np.exp(x) if x > 0 else x", "/tmp/cell.py", "exec"), space)
    with pytest.raises(e.ConcretizationError, match=r"'gt' at In\[3\]:2 in f and"):
        fx.jit(space["f"])(X[0, 0])
    assert {str(eqn.source) for eqn in fx.make_graph(lambda x: x * 2)(X).eqns} == {f"{__file__}:{_line()} in <lambda>"}


def _line() -> int:
    return sys._getframe(1).f_lineno
