"""What packages written for JAX ask of it: each program is run with fx and with JAX, and must give the same dtypes and numbers.

JAX's answers are recorded: ``pytest --update-golden`` asks it again.
"""

from __future__ import annotations

import contextlib
import importlib
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from recorded import answers

import fx
import fx.numpy as fnp
from fx import lax
from fx.errors import ArgumentError, AxisError, DTypeError, ShapeError, UnsupportedArgumentError

WIDE = np.linspace(0.25, 2.0, 6).reshape(2, 3)  # float64
COUNTS = np.arange(6).reshape(2, 3)  # int64


@contextlib.contextmanager
def as_jax() -> Iterator[None]:
    """The options with which programs for JAX run."""
    options = {"wide_dtypes": "default", "python_dtypes": "default", "in_place": "rebind"}
    before = {name: getattr(fx.config, name) for name in options}
    try:
        for name, value in options.items():
            setattr(fx.config, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(fx.config, name, value)


@pytest.fixture(scope="module")
def theirs(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    def compute() -> dict[str, Any]:
        import jax

        with jax.enable_x64(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX tells of each dtype that it narrows
            programs = {name: f(jax, jax.numpy) for name, f in NARROWED.items()}
            programs["sparse arrays"] = sparse_program("jax")
            programs["dependencies"] = dependencies("jax", nested("jax"), 1.0, 2.0, 3.0)
            return {
                f"{n} {i}": np.asarray(x) for n, out in programs.items() for i, x in enumerate(jax.tree.leaves(out))
            }

    return answers("jax_programs", request.config.getoption("--update-golden"), compute)


def hold(ours: Any, name: str, theirs: dict[str, np.ndarray]) -> None:
    leaves = fx.tree.leaves(ours)
    assert len(leaves) == sum(key.rpartition(" ")[0] == name for key in theirs)
    for i, x in enumerate(leaves):
        y = theirs[f"{name} {i}"]
        assert np.asarray(x).dtype == y.dtype, f"{name} {i}"
        np.testing.assert_allclose(x, y, rtol=1e-5, err_msg=f"{name} {i}")


def loaded(library: str, *rooms: str) -> tuple[Any, ...]:
    return tuple([importlib.import_module(f"{library}.{room}" if room else library) for room in ("", "numpy", *rooms)])


# ------------------------------------------------------------------ 64 bits mean the defaults


def averaged(lib: Any, jnp: Any) -> Any:
    """A running mean that divides another name of its sum."""

    def f(x: Any, n: Any) -> Any:
        hidden = x * 0.9 + 1
        average = hidden
        average /= n
        hidden += average
        return hidden, average

    return lib.jit(f)(WIDE, 4.0), f(jnp.ones(3), 2.0), lib.grad(lambda x: f(x, 2.0)[0].sum())(jnp.ones(3))


NARROWED: dict[str, Callable[[Any, Any], Any]] = {
    "made of NumPy's arrays": lambda lib, jnp: [jnp.asarray(WIDE), jnp.array(COUNTS), jnp.asarray(WIDE + 1j), jnp.array(np.uint64(3))],
    "like NumPy's arrays": lambda lib, jnp: [
        jnp.ones_like(WIDE), jnp.zeros_like(COUNTS), jnp.full_like(WIDE, 2), jnp.empty_like(WIDE + 1j) * 0, jnp.ones_like(WIDE) / jnp.ones(3),
        jnp.zeros_like(lib.ShapeDtypeStruct((2,), np.dtype("int64"))), jnp.zeros_like(np.float64(1)),
    ],
    "dtypes": lambda lib, jnp: [
        jnp.zeros(3, "float64"), jnp.arange(3, dtype=np.int64), jnp.ones(2).astype(jnp.float64), jnp.array([1, 2], float),
        jnp.full(2, 1.0, np.complex128), jnp.ones(2, jnp.uint64), jnp.linspace(0, 1, 3, dtype=float),
    ],
    "operations": lambda lib, jnp: [
        jnp.sqrt(WIDE), WIDE * jnp.ones(3), np.sqrt(2.0) * jnp.ones(2), jnp.ones(2) / np.float64(3), jnp.ones(3) + COUNTS, jnp.sum(COUNTS),
        jnp.mean(COUNTS), jnp.linalg.solve(np.eye(2) * 2, np.ones(2)), jnp.where(COUNTS > 2, WIDE, 0), jnp.matmul(WIDE, WIDE.T),
        jnp.argmax(WIDE), jnp.ones(9)[COUNTS], jnp.zeros((2, 3)).at[0].set(WIDE[1]), jnp.concatenate([WIDE, jnp.ones((1, 3))]),
    ],
    "transforms": lambda lib, jnp: [
        lib.jit(lambda x, i: (x * i, x.astype("float64")))(WIDE, COUNTS), lib.jit(lambda x: x * WIDE)(np.float64(2)),
        lib.grad(lambda x: (x**2 * WIDE).sum())(WIDE), lib.vmap(lambda x: x * np.pi)(WIDE), lib.jvp(jnp.sin, (WIDE,), (WIDE,)),
        lib.hessian(lambda x: (x**3).sum())(WIDE[0]),
    ],
    "carries": lambda lib, jnp: [
        lib.lax.scan(lambda c, x: (c + x, c * np.pi), jnp.zeros(3), WIDE),
        lib.lax.fori_loop(0, 3, lambda i, c: (c * 2).astype(jnp.int64), jnp.array(1)),
        lib.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * np.sqrt(2.0)), (0, WIDE)),
        lib.lax.cond(True, lambda x: x * 2, lambda x: x, WIDE),
    ],
    "callbacks": lambda lib, jnp: lib.jit(
        lambda x: lib.pure_callback(lambda a: np.asarray(a, np.float64) * 2, lib.ShapeDtypeStruct((2, 3), np.dtype("float32")), x)
    )(WIDE),
    "names of arrays": averaged,
    "axes in arrays": lambda lib, jnp: [jnp.transpose(WIDE, np.array([1, 0])), jnp.shape(None)],
}  # fmt: skip


@pytest.mark.parametrize("name", NARROWED)
def test_programs_for_32_bits(name: str, theirs: dict[str, np.ndarray]) -> None:
    with as_jax():
        hold(NARROWED[name](fx, fnp), name, theirs)


FULL_WIDTH: dict[str, Callable[[], Any]] = {
    "mulhi": lambda: lax.mulhi(fnp.int32(2**30), fnp.array([2**30, -5, 7], np.int32)),
    "log10": lambda: fx.jit(fnp.log10)(np.float32([1e3, 1e-5, 1e38, 3])),
    "round": lambda: fnp.round(np.int32([1234567891, -16777217]), -1),
    "gumbel": lambda: fx.random.gumbel(fx.random.key(42), (5,), mode="highest"),
    "binomial": lambda: fx.random.binomial(fx.random.key(42), 10.0, 0.3, (5,)),
    "roll": lambda: fx.jit(fnp.roll)(np.arange(5, dtype=np.int32), np.uint32(2**32 - 1)),
    "index": lambda: fx.jit(lambda x, i: (x[i], x.at[i].set(7)))(np.arange(5, dtype=np.int32), np.uint32(2**32 - 6)),
}


@pytest.mark.parametrize("name", FULL_WIDTH)
def test_steps_of_64_bits_stay_so(name: str) -> None:
    """What is computed in 64 bits in between gives the same numbers where 64 bits mean 32 to users."""
    want = FULL_WIDTH[name]()
    with as_jax():
        fx.tree.map(np.testing.assert_array_equal, FULL_WIDTH[name](), want)


def test_no_array_of_64_bits_is_made_of_narrower_ones() -> None:
    """The integers that hold int32 and uint32 have 64 bits, which mean 32 here."""
    u, i = np.uint32(2**32 - 1), np.int32(-5)
    with as_jax():
        for x in (fnp.array([u, i]), fnp.stack([u, i]), fnp.arange(i, np.uint32(1))):
            assert x.dtype == np.int32
        assert fnp.array([u, i]).tolist() == [-1, -5]
        assert fnp.result_type("uint32", "int32") == fnp.promote_types("uint32", "int8") == np.int32
        assert fx.dtypes.promote_types("uint32", "int32") == np.int32
    assert fnp.array([u, i]).dtype == fnp.result_type("uint32", "int32") == np.int64


def test_arrays_of_64_bits_that_are_there_stay_so() -> None:
    wide = fnp.asarray(WIDE)

    def loop(x: Any) -> Any:
        return lax.while_loop(
            lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] + wide[0, c[0]].astype(np.float32)), (0, x)
        )[1]

    with as_jax():
        for f in (loop, fx.jit(loop), fx.checkpoint(loop)):
            np.testing.assert_allclose(f(fnp.zeros(2)), WIDE[0].sum(), rtol=1e-6)


def test_options_hold_while_they_are_set() -> None:
    f = fx.jit(lambda x: x * 2)
    assert f(WIDE).dtype == fnp.sin(WIDE).dtype == np.float64
    with as_jax():
        assert f(WIDE).dtype == fnp.sin(WIDE).dtype == np.float32
        assert fnp.add(WIDE, 2.0).dtype == fnp.maximum(2, WIDE).dtype == fnp.power(WIDE, 2).dtype == np.float32
        assert fnp.multiply(COUNTS, 2).dtype == fnp.subtract(2, COUNTS).dtype == np.int32
        with fx.enable_x64():
            assert f(WIDE).dtype == fnp.asarray(WIDE).dtype == np.float64
    assert f(WIDE).dtype == fnp.sin(WIDE).dtype == fnp.zeros(2, "float64").dtype == np.float64
    with pytest.raises(ArgumentError, match="whole process"), fx.config.using(wide_dtypes="default"):
        pass


# ------------------------------------------------------------------ graphs under JAX's names


def dependencies(library: str, f: Callable[..., Any], *args: Any) -> list[list[int]]:
    """For each result the arguments that it is made of, as NumPyro finds them: through calls, loops and branches."""
    lib, _, core, primitives = loaded(library, "extend.core", "extend.core.primitives")
    closed_at = {
        primitives.jit_p: "jaxpr",
        primitives.closed_call_p: "call_jaxpr",
        primitives.custom_jvp_call_p: "call_jaxpr",
    }

    def of(jaxpr: Any, given: list[set[int]]) -> list[set[int]]:
        known = dict(zip(jaxpr.invars, given)) | {v: set() for v in jaxpr.constvars}
        for e in jaxpr.eqns:
            ins = [set() if isinstance(v, core.Literal) else known[v] for v in e.invars]
            outs = [set().union(*ins)] * len(e.outvars)
            if e.primitive in closed_at:
                outs = of(e.params[closed_at[e.primitive]].jaxpr, ins)
            elif e.primitive is primitives.scan_p:
                assert len(e.params["jaxpr"].jaxpr.invars) == len(ins) and e.params["num_carry"] == 1
            elif e.primitive is primitives.while_p:
                assert e.params["body_jaxpr"].out_avals[0].shape == e.params["cond_jaxpr"].in_avals[-1].shape
            elif e.primitive is primitives.cond_p:
                outs = of(e.params["branches"][0].jaxpr, ins[1:])
            known |= zip(e.outvars, outs)
        return [set() if isinstance(v, core.Literal) else known[v] for v in jaxpr.outvars]

    closed = lib.make_jaxpr(f)(*args)
    return [sorted(s) for s in of(closed.jaxpr, [{i} for i in range(len(args))])]


def nested(library: str) -> Callable[..., Any]:
    lib, jnp = loaded(library)

    @lib.jit
    def pair(x: Any, y: Any) -> Any:
        return jnp.sin(x), x * y

    def f(x: Any, y: Any, z: Any) -> Any:
        a, b = pair(x, y)
        c = lib.lax.scan(lambda c, _: (c * z, None), y, jnp.arange(3.0))[0]
        d = lib.lax.cond(x > 0, lambda u, v: (u, v), lambda u, v: (u, v * 2), y, z)
        e = lib.lax.while_loop(lambda v: v < 9.0, lambda v: v * 2, z)
        return a, b, c, d, e, lib.nn.relu(z), 1.0

    return f


def test_equations_hold_graphs_under_the_names_of_jax(theirs: dict[str, np.ndarray]) -> None:
    found = dependencies("fx", nested("fx"), 1.0, 2.0, 3.0)
    hold(found, "dependencies", theirs)
    assert found[:2] == [[0], [0, 1]]


def test_a_table_of_primitives() -> None:
    table = fx.extend.core.primitives
    assert table.sin_p is fx.lax.sin_p and table.add_jaxvals_p is fx.lax.add_p and table.call_p is table.call_p
    jax = pytest.importorskip("jax.extend.core.primitives")
    missing = [n for n in dir(jax) if n.endswith("_p") and not hasattr(table, n)]
    made_of_others = {"one_minus_square_p", "polynomial_p"}  # from JAX 0.12 on
    assert set(missing) - made_of_others == {"empty2_p", "get_p", "swap_p"}, "references are no values here"


def test_functions_transformed_step_by_step() -> None:
    def program(library: str) -> list[Any]:
        lu = importlib.import_module(f"{library}.extend.linear_util")

        @lu.transformation_with_aux2
        def counted(f: Any, store: Any, by: Any, *args: Any) -> Any:
            store(len(args)) if library == "fx" else store.store(len(args))
            return f(*[by * a for a in args])

        @lu.transformation2
        def shifted(f: Any, by: Any, *args: Any) -> Any:
            return f(*args) + by

        fun, count = counted(lu.wrap_init(lambda x, y: x - y, debug_info=None), 10)
        return [shifted(fun, 5).call_wrapped(4, 1), count()]

    assert program("fx") == [35, 2]

    @fx.extend.linear_util.transformation_with_aux
    def scaled(by: Any, x: Any) -> Iterator[Any]:
        out = yield (x + 1,), {}
        yield by * out, "aux"

    fun, aux = scaled(fx.extend.linear_util.wrap_init(lambda x: x * x), 3)
    assert (fun.call_wrapped(2), aux()) == (27, "aux")


def test_small_things_that_packages_ask_for(tmp_path: Any) -> None:
    class Attributes:
        """An object with attributes under the names of those of functions."""

        __name__ = property(lambda self: self)
        __annotations__ = 3

        def __call__(self, x: Any) -> Any:
            return x * 2

    class Sizes:
        def __iter__(self) -> Iterator[int]:
            return iter((2, 3))

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Unhashable)

    for transform in (fx.vmap, fx.grad, fx.value_and_grad, fx.jacfwd, fx.checkpoint, fx.jit):
        transform(Attributes())(fnp.ones(2) if transform is fx.vmap else 1.0)
    assert fnp.zeros(Sizes()).shape == (2, 3)
    held = [fx.tree.TreeDef(tuple, {"rule": [Unhashable()]}, ()) for _ in range(2)]
    assert held[0] == held[1]
    registry = fx.tree_util.default_registry
    assert registry.flatten_one_level(3.0) is None and registry.flatten_one_level((1, [2]))[0] == [1, [2]]
    with fx.core.take_current_trace() as trace, fx.core.set_current_trace(trace):
        assert fnp.sin(0.0) == 0.0
    with pytest.raises(UnsupportedArgumentError, match="make_jaxpr"), fx.core.set_current_trace(fx.core.Trace()):
        pass
    layout = importlib.import_module("fx.experimental.layout")
    assert layout.Format(layout.Layout((0, 1))).sharding is None
    with pytest.raises(ArgumentError, match="C order"):
        layout.Layout((1, 0))

    (tmp_path / "between.py").write_text("def call(f, x):\n    return f(x)\n")
    between: dict[str, Any] = {}
    exec(compile((tmp_path / "between.py").read_text(), str(tmp_path / "between.py"), "exec"), between)
    fx.extend.source_info_util.register_exclusion(str(tmp_path))
    with pytest.raises(ShapeError) as e:
        fx.jit(lambda x: between["call"](lambda x: fnp.reshape(x, (5,)), x))(WIDE)
    assert "between.py" not in [f.filename for f in traceback.extract_tb(e.tb)[1:]]


# ------------------------------------------------------------------ sparse arrays


DENSE = np.where(np.arange(12).reshape(3, 4) % 3, np.arange(12.0, dtype=np.float32).reshape(3, 4), 0)
OTHER = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)


def sparse_program(library: str) -> list[Any]:
    lib, jnp, sparse = loaded(library, "experimental.sparse")
    A = sparse.BCOO.fromdense(DENSE)
    padded = sparse.BCOO.fromdense(DENSE, nse=12)
    twice = sparse.BCOO((jnp.array([1.0, 2.0, 3.0]), jnp.array([[0, 1], [2, 0], [0, 1]])), shape=(3, 4))
    rows = sparse.BCOO.fromdense(DENSE[1:, :], n_dense=1)
    scipy_sparse = importlib.import_module("scipy.sparse")

    def loss(data: Any, x: Any) -> Any:
        return ((sparse.BCOO((data, A.indices), shape=A.shape) @ x) ** 2).sum()

    return [
        A.data, A.indices, A.todense(), A.T.todense(), A @ OTHER, A @ OTHER[:, 0], jnp.asarray(OTHER.T) @ A.T, (A * 2.0).todense(), (A * DENSE).todense(),
        padded.todense(), padded @ OTHER, padded.sum(), padded.sum(axis=0).todense(), padded.sum(axis=1).todense(), twice.todense(), twice @ OTHER,
        twice.sum_duplicates().data, twice.sum_duplicates().indices, twice.sort_indices().indices, (A + twice).todense(),
        rows.data, rows.todense(), A.nse, A.n_dense, A.shape, sparse.eye(3, 4, k=1).todense(), sparse.eye(4, 3, k=-2).todense(),
        sparse.empty((2, 3)).todense(), sparse.BCOO.from_scipy_sparse(scipy_sparse.csr_matrix(DENSE)).todense(),
        lib.jit(lambda A, x: A @ x)(padded, OTHER), lib.grad(loss)(A.data, OTHER[:, 0]), lib.jit(lib.grad(loss, 1))(A.data, OTHER[:, 0]),
        lib.vmap(lambda x: A @ x, 1)(OTHER), lib.jit(lambda m: sparse.BCOO.fromdense(m, nse=9).todense())(DENSE),
    ]  # fmt: skip


def test_sparse_arrays_beside_jax(theirs: dict[str, np.ndarray]) -> None:
    hold(sparse_program("fx"), "sparse arrays", theirs)
    sparse = importlib.import_module("fx.experimental.sparse")
    A = sparse.BCOO.fromdense(DENSE)
    np.testing.assert_array_equal((-A - A / 2).todense(), -1.5 * DENSE)
    np.testing.assert_array_equal(A - DENSE, 0 * DENSE)
    assert float(A.sum((0, 1)).todense()) == DENSE.sum()
    np.testing.assert_array_equal(sparse.BCOO.fromdense(DENSE > 2).todense(), DENSE > 2)
    # Sizes, and numbers of places, beyond the dtype of the indices.
    for dtype, n, last in (("int8", 300, 127), ("int32", 200_000, 199_999)):
        ends = np.array([[9, last], [1, 7], [9, last]], dtype)
        far = sparse.BCOO((np.ones(3, np.float32), ends), shape=(n, n))
        np.testing.assert_array_equal(far.sum_duplicates().indices, ends[[1, 0]])
        np.testing.assert_array_equal(far.sort_indices().indices, ends[[1, 0, 2]])
    with pytest.raises(AxisError, match="axis 2 is out of range"):
        A.sum(2)
    with pytest.raises(DTypeError, match="integers are needed"):
        sparse.BCOO((A.data, A.data[:, None]), shape=(3,))
    for wrong in (lambda: A @ A, lambda: A * A, lambda: A / DENSE, lambda: sparse.BCOO.fromdense(DENSE[0]) @ OTHER):
        with pytest.raises(UnsupportedArgumentError):
            wrong()
    for wrong in (lambda: A @ DENSE, lambda: A + sparse.eye(3), lambda: sparse.BCOO((A.data, A.indices), shape=(3,))):
        with pytest.raises(ShapeError):
            wrong()
