"""The small namespaces: flatten_util, ops, test_util, tree, platform, contexts, debug, and the names of JAX for all."""

from __future__ import annotations

import functools
import importlib
import io
import logging
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import ops, tree, tree_util
from fx.errors import BackendError, DeletedArrayError, DTypeError, ShapeError, TreeError
from fx.flatten_util import ravel_pytree
from fx.test_util import check_grads, check_jvp, check_vjp

# --------------------------------------------------------------------------------------------- names

ABSENT = {  # the greater namespaces: surface.py
    "dtypes": "",
    "errors": "InconclusiveDimensionOperation JaxRuntimeError JaxprTypeError KeyReuseError",  # nothing raises them
    "typing": "", "flatten_util": "", "test_util": "", "dlpack": "", "custom_derivatives": (
        "CustomVJPPrimal SymbolicZero custom_jvp_call_p custom_vjp_call_p custom_vjp_primal_tree_values linear_call remat_opt_p zero_from_primal"
    ),
    "stages": "CompilerOptions",
}  # fmt: skip


@pytest.mark.parametrize("space", ABSENT)
def test_every_public_name_of_jax_is_there_or_its_absence_is_stated(space: str) -> None:
    pytest.importorskip("jax")
    theirs = importlib.import_module(f"jax.{space}")
    ours = importlib.import_module(f"fx.{space}")
    missing = {n for n in dir(theirs) if not n.startswith("_") and not hasattr(ours, n)}
    assert missing <= set(ABSENT[space].split()), missing - set(ABSENT[space].split())


def test_every_name_of_the_top_level_loads() -> None:
    assert all(hasattr(fx, n) for n in fx.__all__)


# --------------------------------------------------------------------------------------- flatten_util


def test_ravel_pytree_and_back() -> None:
    params = {"b": (1.5, np.float16([2, 3])), "a": np.ones((2, 2), np.int32)}
    vector, unravel = ravel_pytree(params)
    assert vector.dtype == np.float16 and vector.tolist() == [1, 1, 1, 1, 1.5, 2, 3]
    back = unravel(vector)
    assert tree.structure(back) == tree.structure(params)
    assert [x.dtype.name for x in tree.leaves(back)] == ["int32", "float32", "float16"]
    assert ravel_pytree({})[0].shape == (0,) and ravel_pytree({})[1](fnp.zeros(0)) == {}
    mixed = {"z": np.complex64([1 + 2j]), "x": np.float32([3])}
    assert unravel_of(mixed)["x"].dtype == np.float32
    gradient = fx.jit(fx.grad(lambda v: sum(fnp.sum(x**2) for x in tree.leaves(unravel_of_floats(v)))))(fnp.ones(3))
    np.testing.assert_allclose(gradient, 2 * np.ones(3))
    with pytest.raises(ShapeError, match=r"\(7,\)"):
        unravel(fnp.ones(3, np.float16))
    with pytest.raises(DTypeError, match="float16"):
        unravel(fnp.ones(7))


def unravel_of(x: Any) -> Any:
    vector, unravel = ravel_pytree(x)
    return unravel(vector)


def unravel_of_floats(vector: Any) -> Any:
    return ravel_pytree({"a": fnp.zeros(2), "b": fnp.zeros(())})[1](vector)


# ------------------------------------------------------------------------------------------------ ops

DATA = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
IDS = np.array([0, 2, 2, -1, 7, 0])


@pytest.mark.parametrize("name", ["segment_sum", "segment_prod", "segment_max", "segment_min"])
def test_segments_are_jax_s(name: str) -> None:
    jax = pytest.importorskip("jax")
    ours, theirs = getattr(ops, name), getattr(jax.ops, name)
    for data in (DATA, (DATA * 10).astype(np.int32)):
        for ids, n in ((IDS, 4), (IDS, 0), (np.abs(IDS), None)):
            got, want = ours(data, ids, n), np.asarray(theirs(data, ids, n))
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(
        ours(DATA, IDS, 4, mode="clip"), np.asarray(theirs(DATA, IDS, 4, mode="clip")), rtol=1e-6
    )
    ids = {"unique_indices": True} if name == "segment_prod" else {}
    gradient = fx.grad(lambda x: fnp.sum(fnp.sin(ours(x, np.arange(6), 9, **ids))))(DATA)
    want = jax.grad(lambda x: jax.numpy.sum(jax.numpy.sin(theirs(x, np.arange(6), 9, **ids))))(DATA)
    np.testing.assert_allclose(gradient, np.asarray(want), rtol=1e-5)
    batch = fx.vmap(lambda x, i: ours(x, i, 3), (1, None), 1)(DATA, IDS)
    np.testing.assert_allclose(batch, ours(DATA, IDS, 3), rtol=1e-6)


def test_segments_say_what_is_wrong() -> None:
    with pytest.raises(DTypeError, match="integers"):
        ops.segment_sum(DATA, DATA[:, 0])
    with pytest.raises(ShapeError, match="leading"):
        ops.segment_sum(DATA, IDS[:3])
    with pytest.raises(ShapeError, match="negative"):
        ops.segment_sum(DATA, IDS, -1)


# ------------------------------------------------------------------------------------------ test_util


def test_derivatives_that_are_right_pass() -> None:
    point = (np.full(3, 0.3), {"k": np.float64(2), "n": 3})
    check_grads(lambda x, d: fnp.sin(x) * d["k"] ** d["n"], point, order=2, modes=("fwd", "rev", "lin"))
    check_grads(fnp.sin, (np.float32(1),), order=2)
    check_grads(lambda z: fnp.exp(z) * z, (np.array([1 + 2j, 0.5j]),), order=1)
    check_jvp(fnp.tanh, functools.partial(fx.jvp, fnp.tanh), (0.5,))
    check_vjp(fnp.tanh, functools.partial(fx.vjp, fnp.tanh), (0.5,))


@pytest.mark.parametrize("modes", ["fwd", "rev", "lin"])
def test_a_wrong_derivative_is_caught(modes: str) -> None:
    @fx.custom_jvp
    def cube(x: Any) -> Any:
        return x**3

    cube.defjvp(lambda primals, tangents: (primals[0] ** 3, 3.03 * primals[0] ** 2 * tangents[0]))
    with pytest.raises(AssertionError):
        check_grads(cube, (1.5,), order=1, modes=(modes,))
    check_grads(cube, (1.5,), order=1, modes=(modes,), rtol=0.1, atol=0.1)
    with pytest.raises(ValueError, match="'rev'"):
        check_grads(cube, (1.5,), order=1, modes=("back",))


# ---------------------------------------------------------------------------------- tree, errors, config


def test_trees_by_one_level_and_static_fields() -> None:
    children, aux = tree_util.flatten_one_level({"b": [1, 2], "a": 3})
    assert (list(children), aux) == ([3, [1, 2]], ("a", "b"))
    assert [str(k) for k, _ in tree_util.flatten_one_level_with_keys((5, 6))[0]] == ["[0]", "[1]"]
    assert tree_util.is_tree_node(dict) and not tree_util.is_tree_node(int)
    with pytest.raises(TreeError, match="a int is a leaf"):
        tree_util.flatten_one_level(3)
    assert tree.reduce_associative(lambda a, b: a + b, (1, [2, 3])) == 6
    assert tree.reduce_associative(lambda a, b: a + b, (), identity=0) == 0


def test_options_by_the_names_of_jax() -> None:
    with fx.config.using():
        assert not fx.config.jax_enable_x64
        with fx.enable_x64():
            assert fx.config.jax_enable_x64 and fnp.zeros(2).dtype == np.float64 and fnp.arange(2).dtype == np.int64
        with fx.enable_x64(False):
            assert fnp.zeros(2).dtype == np.float32
    old = fx.config.default_float, fx.config.default_int
    try:
        fx.config.update("jax_enable_x64", True)
        assert fnp.ones(1).dtype == np.float64
    finally:
        fx.config.default_float, fx.config.default_int = old
    fx.config.update("jax_platforms", "cpu")
    fx.config.update("verify", False)
    with pytest.raises(ValueError, match="always"):
        fx.config.update("jax_threefry_partitionable", False)
    with pytest.raises(AttributeError, match="no_such_option"):
        fx.config.update("jax_no_such_option", 1)
    with fx.default_matmul_precision("highest"), fx.checking_leaks(), fx.transfer_guard("disallow"), fx.enable_checks():
        assert fx.config.verify
    with pytest.raises(ValueError, match="threefry"):
        fx.default_prng_impl("rbg")
    with pytest.raises(ValueError, match="'standard'"):
        fx.numpy_dtype_promotion("strict")


def test_there_is_one_device() -> None:
    assert fx.devices() == fx.local_devices() and fx.devices()[0].platform == fx.default_backend() == "cpu"
    assert fx.device_count() == fx.local_device_count() == fx.process_count() == 1
    assert fx.process_index() == 0 and fx.process_indices() == [0]
    with pytest.raises(BackendError, match="CPU"):
        fx.devices("gpu")
    fx.effects_barrier()
    with fx.default_device(fx.devices()[0]):
        x = fx.device_put(np.ones(2), fx.devices()[0])
    assert x.devices() == set(fx.devices())
    assert x.is_ready() and x.addressable_data(0) is x and x.platform() == "cpu" and x.on_device_size_in_bytes() == 16
    assert any(y is x for y in fx.live_arrays()) and x.unsafe_buffer_pointer()
    x.delete()
    assert x.is_deleted()
    with pytest.raises(DeletedArrayError):
        x + 1
    assert str(fx.typeof(np.ones((2, 3), np.int8))) == "i8[2,3]"
    assert "numpy" in (fx.print_environment_info(return_string=True) or "")


def test_every_array_is_whole_on_the_one_device() -> None:
    """What programs ask of ``x.sharding``, as JAX answers it."""
    x, seen = fnp.ones((2, 3)), []
    seen.append(fx.jit(lambda v: (seen.append(v.sharding), v)[1])(x).sharding)
    for s in (x.sharding, *seen):
        assert s == x.sharding and hash(s) == hash(x.sharding) and s != "cpu"
        assert s.device_set == s.addressable_devices == set(fx.devices()) and s.num_devices == 1
        assert s.is_fully_replicated and s.is_fully_addressable and s.memory_kind == "device"
        assert s.shard_shape((2, 3)) == (2, 3) and s.is_equivalent_to(x.sharding, 2)
        assert s.devices_indices_map((2, 3)) == {fx.devices()[0]: (slice(None), slice(None))}
    assert fx.device_put({"a": x}, x.sharding)["a"] is x and fx.device_put(x, donate=True, may_alias=False) is x
    with pytest.raises(ValueError, match="one device"):
        fx.device_put(x, "gpu")
    theirs = pytest.importorskip("jax").numpy.ones(2).sharding
    assert repr(theirs) == repr(x.sharding)
    unasked = {"check_compatible_aval", "with_memory_kind"}
    assert {n for n in dir(theirs) if not n.startswith("_")} - set(dir(x.sharding)) == unasked


def test_types_say_that_nothing_is_cut() -> None:
    jax = pytest.importorskip("jax")
    seen: list[Any] = []
    fx.jit(lambda x: seen.append(fx.typeof(x).sharding))(fnp.ones((2, 3)))
    theirs, ours = jax.typeof(jax.numpy.ones((2, 3))).sharding, fx.typeof(fnp.ones((2, 3))).sharding
    assert seen == [ours] and str(ours.spec) == str(theirs.spec) and tuple(ours.spec) == (None, None)
    assert ours.mesh.empty and theirs.mesh.empty and ours.mesh.axis_names == theirs.mesh.axis_names == ()
    assert fx.typeof(1.0).sharding.spec == fx.P() and fnp.ones((2, 3), out_sharding=ours).shape == (2, 3)


def test_known_values_are_computed_while_jit_traces() -> None:
    @fx.jit
    def f(x: Any) -> Any:
        with fx.ensure_compile_time_eval():
            n = int(fnp.arange(4).sum())
        return fnp.full(n, x)

    assert f(2.0).shape == (6,)


# ---------------------------------------------------------------------------------------------- debug


def test_debug_log_and_breakpoint(caplog: Any, monkeypatch: Any) -> None:
    typed: list[Any] = []
    monkeypatch.setattr("sys.stdin", io.StringIO("found.append(float(x.sum()))\n"))
    monkeypatch.setattr("code.interact", lambda banner, local, exitmsg: typed.append((banner, local)))

    @fx.jit
    def f(x: Any) -> Any:
        fx.debug.log("x sums to {}", x.sum())
        fx.debug.breakpoint()
        return 2 * x

    with caplog.at_level(logging.INFO, logger="fx"):
        f(np.float32([1, 2]))
    assert [r.getMessage() for r in caplog.records] == ["x sums to 3.0"]
    assert "in f: x" in typed[0][0] and typed[0][1]["x"].tolist() == [1, 2]


# ------------------------------------------------------------------------- programs for several devices


def test_pmap_is_vmap_on_one_device() -> None:
    x = np.arange(6.0).reshape(2, 3)
    share = fx.pmap(lambda v, w, n, *, k: n * (v + w + k) / fx.lax.psum(v, "i"), "i", in_axes=(0, None, None),
                    static_broadcasted_argnums=2)  # fmt: skip
    np.testing.assert_allclose(share(x + 1, 2.0, 3, k=np.zeros(2)), 3 * (x + 3) / (2 * x[0] + 5))
    assert fx.pmap(lambda v: v * 2, out_axes=1)(x).shape == (3, 2)
    tree_of = {"a": x, "b": (1.0,)}
    assert fx.copy_to_host_async(tree_of) is tree_of


def test_caches_are_cleared() -> None:
    f = fx.jit(lambda v: v + 1)
    f(np.ones(2))
    assert f.cache_info().size == 1
    fx.clear_caches()
    assert f.cache_info().size == 0 and f(np.ones(2)).tolist() == [2, 2]


def test_dlpack() -> None:
    x = np.arange(3.0)
    assert np.shares_memory(np.asarray(fx.dlpack.from_dlpack(x)), x)
    assert fx.dlpack.is_supported_dtype(np.complex64) and not fx.dlpack.is_supported_dtype("bfloat16")
