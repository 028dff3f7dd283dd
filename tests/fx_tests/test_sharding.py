"""Meshes, shardings and ``shard_map``: collectives over a mesh beside what they say of the whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import P, lax
from fx.errors import ArgumentError, ShapeError, VmapAxisError
from fx.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding, get_abstract_mesh, get_mesh

X = np.arange(16.0).reshape(8, 2)
ROWS = X.reshape(4, 2, 2)  # the four parts along the first axis
GROUPS = [[3, 0], [1, 2]]


def grouped(reduce: Any) -> np.ndarray:
    out = np.empty_like(ROWS)
    for g in GROUPS:
        out[g] = reduce(ROWS[g])
    return out.reshape(8, 2)


# sizes, f, in_specs, out_specs, the truth for X
CASES: dict[str, tuple[dict[str, int], Any, Any, Any, Any]] = {
    "parts": ({"i": 4}, lambda x: x - x[:1], P("i"), P("i"), (ROWS - ROWS[:, :1]).reshape(8, 2)),
    "psum": ({"i": 4}, lambda x: lax.psum(x, "i"), P("i"), P(), ROWS.sum(0)),
    "psum over two": ({"i": 4, "j": 2}, lambda x: lax.psum(x, ("i", "j")), P("i", "j"), P(), X.reshape(4, 2, 2, 1).sum((0, 2))),
    "pmean": ({"i": 4}, lambda x: lax.pmean(x, "i"), P("i"), P(None, None), ROWS.mean(0)),
    "pmax": ({"i": 4}, lambda x: lax.pmax(x, "i"), P("i"), P(), ROWS.max(0)),
    "not cut along j": ({"i": 2, "j": 3}, lambda x: lax.psum(x, "i"), P("i"), P(), X.reshape(2, 4, 2).sum(0)),
    "names of one dimension": ({"i": 2, "j": 2}, lambda x: x + 0, P(("j", "i")), P(("j", "i")), X),
    "exchanged names": (
        {"i": 2, "j": 2}, lambda x: x, P(("i", "j")), P(("j", "i")),
        X.reshape(2, 2, 2, 2).swapaxes(0, 1).reshape(8, 2),
    ),
    "axis_index of two": (
        {"i": 2, "j": 2}, lambda x: x * 0 + lax.axis_index(("i", "j")), P(("i", "j")), P(("i", "j")),
        np.repeat(np.arange(4.0), 2)[:, None] * np.ones(2),
    ),
    "all_gather": ({"i": 4}, lambda x: lax.all_gather(x, "i", tiled=True), P("i"), P(), X),
    "all_gather of two": ({"i": 2, "j": 2}, lambda x: lax.all_gather(x, ("i", "j")), P(("i", "j")), P(), ROWS),
    "all_gather behind": ({"i": 4}, lambda x: lax.all_gather(x, "i", axis=-1), P("i"), P(), np.moveaxis(ROWS, 0, -1)),
    "ppermute": (
        {"i": 4}, lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2), (3, 0)]), P("i"), P("i"),
        np.stack([ROWS[3], ROWS[0], ROWS[1], 0 * ROWS[0]]).reshape(8, 2),
    ),
    "psum_scatter": (
        {"i": 2}, lambda x: lax.psum_scatter(x, "i", tiled=True), P(None, "i"), P("i"), X.sum(1, keepdims=True),
    ),
    "all_to_all": ({"i": 2}, lambda x: lax.all_to_all(x, "i", 1, 0, tiled=True), P("i"), P(None, "i"), X),
    "psum of groups": ({"i": 4}, lambda x: lax.psum(x, "i", axis_index_groups=GROUPS), P("i"), P("i"), grouped(lambda r: r.sum(0))),
    "pmin of groups": ({"i": 4}, lambda x: lax.pmin(x, "i", axis_index_groups=GROUPS), P("i"), P("i"), grouped(lambda r: r.min(0))),
    "pmean of groups": ({"i": 4}, lambda x: lax.pmean(x, "i", axis_index_groups=GROUPS), P("i"), P("i"), grouped(lambda r: r.mean(0))),
    "all_gather of groups": (
        {"i": 4}, lambda x: lax.all_gather(x, "i", axis_index_groups=GROUPS, tiled=True), P("i"), P("i"),
        np.concatenate([ROWS[g].reshape(4, 2) for g in ([3, 0], [1, 2], [1, 2], [3, 0])]),
    ),
    "psum_scatter of groups": (
        {"i": 4}, lambda x: lax.psum_scatter(x, "i", axis_index_groups=GROUPS, tiled=True), P("i"), P("i"),
        np.stack([(ROWS[3] + ROWS[0])[1], (ROWS[1] + ROWS[2])[0], (ROWS[1] + ROWS[2])[1], (ROWS[3] + ROWS[0])[0]]),
    ),
    "all_to_all of groups": (
        {"i": 4}, lambda x: lax.all_to_all(x, "i", 0, 1, axis_index_groups=GROUPS, tiled=True), P("i"), P("i"),
        np.stack([np.concatenate([ROWS[a][k], ROWS[b][k]]) for a, b, k in ((3, 0, 1), (1, 2, 0), (1, 2, 1), (3, 0, 0))]),
    ),
    "pcast": ({"i": 4}, lambda x: lax.pcast(x, "i", to="varying"), P("i"), P("i"), X),
}  # fmt: skip


def mapped(sizes: dict[str, int], f: Any, in_specs: Any, out_specs: Any, **options: Any) -> Any:
    mesh = fx.make_mesh(tuple(sizes.values()), tuple(sizes))
    return fx.shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, **options)


@pytest.mark.parametrize("name", CASES)
def test_what_positions_tell_one_another(name: str) -> None:
    sizes, f, in_specs, out_specs, want = CASES[name]
    g = mapped(sizes, f, in_specs, out_specs)
    for run in (g, fx.jit(g)):
        np.testing.assert_array_equal(run(X), want)
    w = np.cos(np.arange(np.size(want))).reshape(np.shape(want))
    slope = fx.grad(lambda x: fnp.sum(g(x) * w))(X)
    _, tangent = fx.jvp(g, (X,), (X + 1,)) if "pm" not in name else (0, None)
    if tangent is not None:
        np.testing.assert_allclose(np.sum(slope * (X + 1)), np.sum(np.asarray(tangent) * w), rtol=1e-12)


def test_trees_of_arguments_and_results() -> None:
    t = {"a": X, "b": np.arange(8.0).reshape(2, 4), "s": 3.0}

    def f(t: Any, n: Any) -> Any:
        return {"product": t["a"] @ t["b"] * t["s"], "total": (lax.psum(t["b"].sum(), "j") + n,)}

    specs = ({"a": P("i"), "b": P(None, "j"), "s": P()}, None)
    out = mapped({"i": 2, "j": 2}, f, specs, {"product": P("i", "j"), "total": P()})(t, 1.0)
    np.testing.assert_array_equal(out["product"], 3 * t["a"] @ t["b"])
    assert out["total"][0] == t["b"].sum() + 1


def test_a_mesh_that_is_set_and_axes_that_are_not_mapped() -> None:
    mesh = fx.make_mesh((2, 2), ("i", "j"), axis_types=(AxisType.Explicit, AxisType.Auto))
    assert get_mesh().empty and mesh.explicit_axes == ("i",) and mesh.auto_axes == ("j",)
    with fx.set_mesh(mesh):
        assert get_mesh() is mesh and get_abstract_mesh() == mesh.abstract_mesh
        f = fx.shard_map(lambda x: lax.psum(x, "i"), in_specs=P("i"), out_specs=P(), axis_names={"i"})
        np.testing.assert_array_equal(f(X), X.reshape(2, 4, 2).sum(0))
        g = fx.smap(lambda x: x - lax.pmean(x, "j"), in_axes=1, out_axes=1, axis_name="j")
        np.testing.assert_array_equal(g(X), X - X.mean(1, keepdims=True))
        np.testing.assert_array_equal(lax.with_sharding_constraint(X, P("i")), X)
        with pytest.raises(ShapeError, match="not divisible"):
            lax.with_sharding_constraint(X[:3], P("i"))
    with mesh:
        assert get_mesh() is mesh
    assert get_mesh().empty


def test_results_that_differ_where_their_spec_says_they_do_not() -> None:
    with pytest.raises(VmapAxisError, match=r"output 0 may differ along 'i'.*psum"):
        mapped({"i": 4}, lambda x: x, P("i"), P())(X)
    np.testing.assert_array_equal(mapped({"i": 4}, lambda x: x, P("i"), P(), check_vma=False)(X), ROWS[0])
    np.testing.assert_array_equal(mapped({"i": 4}, lambda x: x[:1], P("i"), P(), check_rep=False)(X), ROWS[0][:1])


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ShapeError, match="dimension 0 of argument leaf 0 .*into 3 parts"):
        mapped({"i": 3}, lambda x: x, P("i"), P("i"))(X)
    with pytest.raises(ShapeError, match="3 dimensions or more"):
        mapped({"i": 2}, lambda x: x, P(None, None, "i"), P("i"))(X)
    with pytest.raises(ArgumentError, match="names the axis 'k'"):
        mapped({"i": 2}, lambda x: x, P("k"), P("i"))(X)
    with pytest.raises(ArgumentError, match="no mesh"):
        fx.shard_map(lambda x: x, in_specs=P("i"), out_specs=P("i"))(X)
    with pytest.raises(ArgumentError, match="two dimensions along one axis"):
        P("i", "i")
    with pytest.raises(ArgumentError, match="PartitionSpecs"):
        mapped({"i": 2}, lambda x: x, ("i",), P("i"))(X)
    with pytest.raises(ShapeError, match="axis_index_groups"):
        mapped({"i": 4}, lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1], [2]]), P("i"), P("i"))(X)


def test_shardings_describe_and_are_accepted() -> None:
    mesh = Mesh(np.array(fx.devices()).reshape(1, 1), ("data", "model"))
    s = NamedSharding(mesh, P("data", None))
    assert (
        s.is_fully_replicated
        and s.is_equivalent_to(NamedSharding(mesh, P("data")), 2)
        and hash(s) == hash(NamedSharding(mesh, s.spec))
    )
    assert NamedSharding(fx.make_mesh((4,), ("i",)), P("i")).shard_shape((8, 3)) == (2, 3)
    f = fx.jit(lambda x: lax.with_sharding_constraint(x * 2, s), in_shardings=s, out_shardings=(s,))
    x = fx.device_put(fnp.asarray(X), s)
    assert isinstance(x.sharding, Sharding) and isinstance(s, Sharding) and not isinstance(mesh, Sharding)
    np.testing.assert_array_equal(f(x), 2 * X)
    np.testing.assert_array_equal(fx.make_array_from_callback(X.shape, s, lambda i: X[i]), X)
    np.testing.assert_array_equal(fx.make_array_from_single_device_arrays(X.shape, s, [fnp.asarray(X)]), X)
    np.testing.assert_array_equal(fx.make_array_from_process_local_data(s, X), X)
    assert (
        PartitionSpec("a", ("b",), ()) == P("a", "b", None)
        and P("a") != ("a",)
        and list(P("a") + P(None)) == ["a", None]
    )
    assert repr(P("x", None, ("a", "b"))) == "P('x', None, ('a', 'b'))"
    assert P("a", ("b",), None).index("b") == 1 and P("a", ("b", "c"), None, ()).count(None) == 2
    with pytest.raises(ValueError):
        P("a").index("b")
    types = fx.sharding.AxisType
    for kind in types:
        of_kind, mixed = (fx.sharding.AbstractMesh((1, 1), ("a", "b"), (kind, other)) for other in (kind, types.Auto))
        named = {"Auto": "are_all_axes_auto", "Explicit": "are_all_axes_explicit", "Manual": "are_all_axes_manual"}
        assert [k for k, n in named.items() if getattr(of_kind, n)] == [kind.name]
        assert (
            mixed.are_all_axes_auto == (kind is types.Auto) and not fx.sharding.AbstractMesh((), ()).are_all_axes_auto
        )
    with pytest.raises(ArgumentError, match="'other'"):
        NamedSharding(mesh, P("other"))


SQUARE = fnp.asarray(X[:2])
KEY = fx.random.key(3)
WITH_OUT_SHARDING: dict[str, Any] = {
    "dot_general": lambda **o: lax.dot_general(SQUARE, SQUARE, (((1,), (0,)), ((), ())), **o),
    "dot": lambda **o: lax.dot(SQUARE, SQUARE, **o),
    "convolution": lambda **o: lax.conv_general_dilated(SQUARE[None, None], SQUARE[None, None], (1, 1), "SAME", **o),
    "broadcast": lambda **o: lax.broadcast(SQUARE, (2,), **o),
    "broadcast_in_dim": lambda **o: lax.broadcast_in_dim(SQUARE, (2, 3, 2), (0, 2), **o),
    "iota": lambda **o: lax.broadcasted_iota("int32", (2, 3), 1, **o),
    "reshape": lambda **o: lax.reshape(SQUARE, (4,), **o),
    "reduce": lambda **o: lax.reduce(SQUARE, 0.0, lax.add, (0,), **o),
    "reduce_sum": lambda **o: lax.reduce_sum(SQUARE, (0,), **o),
    "bernoulli": lambda **o: fx.random.bernoulli(KEY, 0.5, (3,), **o),
    "normal": lambda **o: fx.random.normal(KEY, (3,), **o),
    "uniform": lambda **o: fx.random.uniform(KEY, (3,), minval=1.0, **o),
    "gamma": lambda **o: fx.random.gamma(KEY, 2.0, (3,), **o),
    "permutation": lambda **o: fx.random.permutation(KEY, 5, **o),
    "categorical": lambda **o: fx.random.categorical(KEY, fnp.zeros(5), **o),
    "orthogonal": lambda **o: fx.random.orthogonal(KEY, 2, **o),
}


@pytest.mark.parametrize("name", WITH_OUT_SHARDING)
def test_where_a_result_lies_says_nothing_on_one_device(name: str) -> None:
    f = WITH_OUT_SHARDING[name]
    mesh = Mesh(np.array(fx.devices()).reshape(1), ("data",))
    for where in (None, P(None), NamedSharding(mesh, P("data"))):
        np.testing.assert_array_equal(np.asarray(f(out_sharding=where)), np.asarray(f()))
    np.testing.assert_array_equal(np.asarray(fx.jit(lambda: f(out_sharding=P()))()), np.asarray(fx.jit(lambda: f())()))


def test_the_older_places() -> None:
    from fx.experimental import mesh_utils, multihost_utils, pjit, shard_map

    mesh = Mesh(mesh_utils.create_device_mesh((2, 1)), ("i", "j"))
    np.testing.assert_array_equal(shard_map.shard_map(lambda x: -x, mesh, P("i"), P("i"))(X), -X)
    np.testing.assert_array_equal(pjit.pjit(lambda x: -x)(X), -X)
    assert multihost_utils.process_allgather({"x": X})["x"].shape == (1, 8, 2)
    assert multihost_utils.process_allgather(X, tiled=True).shape == X.shape
    multihost_utils.assert_equal(multihost_utils.broadcast_one_to_all(X))
    multihost_utils.sync_global_devices("end")
