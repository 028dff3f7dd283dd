"""``fx.io``: what is saved comes back; what is damaged, full or something else is told; kills lose nothing."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random as python_random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import io, nn, optim, random, tree
from fx.dtypes import bfloat16
from fx.errors import (
    ArgumentError,
    CheckpointError,
    CheckpointMismatchError,
    CorruptFileError,
    DTypeError,
    SaveError,
    ShapeError,
)
from fx.io import saving

R = np.random.RandomState(0)
ROOT = Path(__file__).resolve().parents[2]


class Moments(NamedTuple):
    mu: object
    nu: object


def same(got, want):
    """Equal leaves of equal kinds in equal containers."""
    assert tree.structure(got) == tree.structure(want)
    for g, w in zip(tree.leaves(got), tree.leaves(want)):
        if hasattr(w, "shape"):
            assert (g.shape, g.dtype) == (w.shape, w.dtype)
            np.testing.assert_array_equal(np.asarray(g), np.asarray(w))
        else:
            assert type(g) is type(w) and repr(g) == repr(w)


TREES = {
    "dtypes": {str(np.dtype(d)): R.normal(size=(2, 3)).astype(d) for d in (
        "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
        "complex64", "complex128", bfloat16)},
    "shapes": {"0-d": np.array(2.5), "empty": np.zeros((0, 3), np.float32), "strided": np.arange(12).reshape(3, 4)[::2, ::-1],
               "fortran": np.asfortranarray(R.normal(size=(3, 4))), "broadcast": np.broadcast_to(np.float32(3), (2, 2)),
               "odd": np.zeros(3, np.int8), "complex strided": np.arange(6.0).astype(complex)[::-2]},
    "special": {"nan": np.array([np.nan, np.inf, -np.inf, -0.0]), "big-endian": np.arange(3, dtype=">i4").astype("i4")},
    "scalars": {"i": 10**40, "f": 0.1, "nan": float("nan"), "inf": -float("inf"), "c": 1 - 2j, "b": True, "s": "é\n", "e": ""},
    "containers": [(), [], {}, None, (np.ones(1), [np.zeros(1), None]), {"a b": np.ones(1), "ä": {}}, {3: np.ones(1), 1: 2},
                   collections.OrderedDict([("z", np.ones(1)), ("a", 2)])],
    "keys": {"one": random.key(3), "many": random.split(random.key(1), 4)},
    "leaf": np.arange(4),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_what_is_saved_comes_back(tmp_path, name):
    path = tmp_path / "a.safetensors"
    io.save(path, TREES[name])
    same(io.load(path), TREES[name])
    same(io.load(path, like=TREES[name]), TREES[name])
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_template_gives_back_modules_and_states(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4, key=random.key(0)), nn.Linear(4, 2, key=random.key(1)))
    optimizer = optim.chain(optim.clip(1.0), optim.adamw(1e-3), optim.weight_ema(0.9))
    state = {"model": model, "optimizer": optimizer.init(model), "moments": Moments(fnp.ones(2), [3, None]), "step": 7}
    io.save(tmp_path / "s", state, metadata={"epoch": 2})
    fresh = tree.map(lambda x: x * 0, state)
    loaded = io.load(tmp_path / "s", like=fresh)
    same(loaded, state)
    x = fnp.ones((1, 3))
    np.testing.assert_array_equal(np.asarray(loaded["model"](x)), np.asarray(model(x)))
    plain = io.load(tmp_path / "s")
    assert plain["step"] == 7 and plain["moments"]["nu"] == [3, None]
    np.testing.assert_array_equal(plain["model"]["layers"][0]["weight"], np.asarray(model.layers[0].weight))
    assert io.read_metadata(tmp_path / "s") == {"epoch": 2}


# ------------------------------------------------------------------------- against the safetensors package


def test_files_are_what_the_safetensors_package_reads_and_writes(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy")
    arrays = {k: v for k, v in TREES["dtypes"].items() if k not in ("complex128", "complex64", "bfloat16")}
    arrays |= {"0-d": np.array(2.5), "empty": np.zeros((0, 3), np.float32)}
    io.write_safetensors(tmp_path / "ours", arrays, {"note": "é"})
    same(theirs.load_file(tmp_path / "ours"), arrays)
    theirs.save_file(arrays, tmp_path / "theirs", {"note": "é"})
    same(io.read_safetensors(tmp_path / "theirs"), arrays)
    same(io.load(tmp_path / "theirs"), arrays)
    assert io.read_safetensors_header(tmp_path / "theirs").metadata == {"note": "é"}
    io.save(tmp_path / "tree", {"layers": [arrays["float32"]]})
    same(theirs.load_file(tmp_path / "tree"), {"layers.0": arrays["float32"]})
    same(io.read_safetensors(tmp_path / "ours", ["bool"]), {"bool": arrays["bool"]})


def raw(header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


MALFORMED = {
    "empty": b"",
    "short": b"\1\0",
    "longer than the file": raw({}, length=1 << 40),
    "no object": raw(b"[1, 2]"),
    "no json": raw(b"{'a': 1}"),
    "no text": raw(b"{\xff\xfe}"),
    "a NaN": raw(b'{"a": NaN}'),
    "deep": raw(b'{"a":' + b"[" * 100_000),
    "twice": raw(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2), b"\0" * 8),
    "fields": raw({"a": {"dtype": "F32"}}, b"\0" * 8),
    "dtype": raw({"a": entry("F31")}, b"\0" * 8),
    "dtype kind": raw({"a": entry(3)}, b"\0" * 8),
    "negative shape": raw({"a": entry(shape=[-2])}, b"\0" * 8),
    "fraction": raw({"a": entry(shape=[2.0])}, b"\0" * 8),
    "bool in a shape": raw({"a": entry(shape=[True, 2])}, b"\0" * 8),
    "overflowing shape": raw({"a": entry(shape=[1 << 62, 1 << 62])}, b"\0" * 8),
    "wrong size": raw({"a": entry(shape=[3])}, b"\0" * 8),
    "beyond the end": raw({"a": entry(offsets=[0, 16], shape=[4])}, b"\0" * 8),
    "turned round": raw({"a": entry(offsets=[8, 0])}, b"\0" * 8),
    "gap": raw({"a": entry(offsets=[4, 12])}, b"\0" * 12),
    "overlap": raw({"a": entry(), "b": entry(offsets=[4, 12])}, b"\0" * 12),
    "rest": raw({"a": entry()}, b"\0" * 9),
    "metadata": raw({"__metadata__": {"a": 1}}),
    "more axes than an array has": raw({"a": entry(shape=[1] * 64 + [2])}, b"\0" * 8),
    "a size beside an axis of 0": raw({"a": entry(shape=[1 << 40, 1 << 40, 0], offsets=(0, 0))}),
    "bool bytes": raw({"a": entry("BOOL", (1,), (0, 1))}, b"\2"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused(tmp_path, name):
    (tmp_path / "bad").write_bytes(MALFORMED[name])
    with pytest.raises(CorruptFileError):
        io.read_safetensors(tmp_path / "bad")


@pytest.mark.parametrize(
    "changed",
    [
        {"fx.structure": None}, {"fx.structure": "no json"}, {"fx.structure": "3"}, {"fx.structure": '{"dict": 3}'},
        {"fx.structure": '{"dict": [["a", {"array": "b"}]]}'}, {"fx.structure": '{"list":' * 3000 + "0" + "}" * 3000},
        {"fx.structure": '{"dict": [["a", 7]]}'}, {"fx.crc32": "no json"}, {"fx.crc32": "[1]"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("like", [None, {"a": np.zeros(2, np.float32)}], ids=["plain", "template"])
def test_structures_that_make_no_sense_are_refused(tmp_path, changed, like):
    """Their checksums are right: what another program wrote."""
    io.save(tmp_path / "a", {"a": np.zeros(2, np.float32)})
    header = io.read_safetensors_header(tmp_path / "a")
    metadata = {k: v for k, v in {**header.metadata, **changed}.items() if v is not None}
    metadata["fx.header_crc32"] = saving._header_digest(header.entries, metadata)
    io.write_safetensors(tmp_path / "a", {"a": np.zeros(2, np.float32)}, metadata)
    with pytest.raises(CorruptFileError):
        io.load(tmp_path / "a", like)


def test_a_leaf_without_a_name_is_told_as_the_whole(tmp_path):
    io.save(tmp_path / "a", np.zeros(2))
    with pytest.raises(CheckpointMismatchError, match=r"unexpected in the file:\n  \(the whole"):
        io.load(tmp_path / "a", {"a": np.zeros(2)})


def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path):
    path = tmp_path / "a"
    values = {"w": np.arange(5, dtype=np.float32), "step": 3}
    io.save(path, values, metadata="note")
    whole = path.read_bytes()
    for i in range(0, len(whole), 3):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :])
        with contextlib.suppress(CheckpointError):
            same(io.load(path), values)  # a space that became another blank
            assert whole[i : i + 1] == b" "
    for i in range(0, len(whole), 7):
        path.write_bytes(whole[:i])
        with pytest.raises(CorruptFileError, match="cut off"):
            io.load(path)
    assert issubclass(CorruptFileError, ValueError)


# ------------------------------------------------------------------------------------------- bad input


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    io.save(path, {"w": np.ones(10)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(SaveError, match="not written.*unharmed.*another disk"):
            io.save(path, {"w": np.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    same(io.load(path), {"w": np.ones(10)})
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(SaveError, match="folder .* does not exist"):
        io.save(tmp_path / "none" / "a", {})


def test_folders_and_devices_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, what in ((pipe, "a device"), (tmp_path, "a folder")):
        with pytest.raises(SaveError, match=f"it is {what}"):
            io.save(path, {})
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]


BAD_LEAVES = {"object": object(), "function": len, "bytes": b"ab", "set": {1}, "text array": np.array(["a"])}


@pytest.mark.parametrize("name", BAD_LEAVES)
def test_what_is_no_data_is_refused_by_its_path(tmp_path, name):
    with pytest.raises((CheckpointError, DTypeError)):
        io.save(tmp_path / "a", {"x": [BAD_LEAVES[name]]})
    assert not os.listdir(tmp_path)


def test_paths_that_are_not_unique_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"'a\.b'"):
        io.save(tmp_path / "a", {"a": {"b": 1}, "a.b": 2})


def test_a_checkpoint_of_another_model_is_told_by_its_entries(tmp_path):
    io.save(tmp_path / "a", {"w": np.ones((2, 3)), "old": 1, "n": 2})
    template = {"w": np.ones((3, 2)), "new": np.ones(1), "n": 0}
    with pytest.raises(CheckpointMismatchError) as e:
        io.load(tmp_path / "a", like=template)
    for part in ("new", "old", r"w: float64[2, 3] in the file, float64[3, 2] in the template", "load_partial"):
        assert part in str(e.value)
    loaded, report = io.load_partial(tmp_path / "a", template)
    assert loaded["n"] == 2 and loaded["w"] is template["w"]
    assert (report.loaded, report.missing, report.unexpected) == (["n"], ["new"], ["old"])
    assert list(report.misshapen) == ["w"] and not report.complete


def test_dtypes_change_only_when_asked(tmp_path):
    io.save(tmp_path / "a", {"w": np.arange(3.0)})
    template = {"w": np.zeros(3, np.float32)}
    with pytest.raises(CheckpointMismatchError, match="float64"):
        io.load(tmp_path / "a", like=template)
    assert io.load(tmp_path / "a", like=template, cast=True)["w"].dtype == np.float32
    with pytest.raises(CheckpointMismatchError):
        io.load(tmp_path / "a", like={"w": np.zeros(3, np.int32)}, cast=True)


def test_parts_are_transferred_by_path(tmp_path):
    io.save(tmp_path / "a", {"encoder": {"w": np.ones(2), "b": np.ones(1)}, "head": np.ones(3)})
    template = {"net": {"body": {"w": np.zeros(2), "b": np.zeros(1)}}, "head": np.zeros(3)}
    loaded, report = io.load_partial(tmp_path / "a", template, rename={"encoder": "net.body"}, only=["net.*"])
    assert report.complete and report.loaded == ["net.body.b", "net.body.w"]
    assert loaded["net"]["body"]["w"].sum() == 2 and loaded["head"].sum() == 0
    drop = lambda name: None if name == "head" else name.replace("encoder", "net.body")
    assert io.load_partial(tmp_path / "a", template, rename=drop)[1].missing == ["head"]
    with pytest.raises(CheckpointError, match="same path"):
        io.load_partial(tmp_path / "a", template, rename=lambda name: "head")


def test_a_file_of_a_later_format_names_its_version(tmp_path):
    io.write_safetensors(tmp_path / "a", {}, {"format": "fx pytree 9", "fx.version": "9.0", "fx.structure": "null"})
    with pytest.raises(CheckpointError, match=r"fx 9\.0"):
        io.load(tmp_path / "a")


# ---------------------------------------------------------------------------------------- the manager


def test_the_manager_keeps_the_last_and_the_best(tmp_path):
    manager = io.CheckpointManager(tmp_path / "runs", keep_last=2, best="accuracy", mode="max", keep_best=2)
    assert manager.latest_step() is None and manager.best_step() is None
    for step, accuracy in enumerate([0.5, 0.9, 0.7, float("nan"), 0.6, 0.1]):
        manager.save(step, {"w": np.full(2, step)}, metrics={"accuracy": accuracy})
    assert (manager.steps(), manager.best_step(), manager.latest_step()) == ([1, 2, 4, 5], 1, 5)
    assert manager.restore({"w": np.zeros(2, int)})["w"][0] == 5
    assert manager.restore(best=True)["w"][0] == 1 and manager.metrics(2) == {"accuracy": 0.7}
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 3; its steps are \[1, 2, 4, 5\]"):
        manager.restore(step=3)
    with pytest.raises(CheckpointError, match="accuracy"):
        manager.save(6, {}, metrics={"loss": 1.0})
    manager.path(5).write_bytes(b"")
    with pytest.raises(CorruptFileError) as e:
        manager.restore()
    assert "[1, 2, 4]" in e.value.__notes__[0]


def test_leftovers_of_dead_processes_go(tmp_path):
    manager = io.CheckpointManager(tmp_path)
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    ).stdout
    host = os.uname().nodename
    for pid in (dead.strip(), str(os.getpid())):
        (tmp_path / f".step-0000000001.safetensors.{host}-{pid}-00ff.tmp").write_bytes(b"x")
    manager.save(2, {})
    assert [f for f in os.listdir(tmp_path) if f.endswith(".tmp")] == [
        f".step-0000000001.safetensors.{host}-{os.getpid()}-00ff.tmp"
    ]


# ------------------------------------------------------------------------------------------ kill -9


def kills(folder, how, times):
    """Kills writers at random moments; for each whether a checkpoint loads, and whether a write was cut."""
    script = ROOT / "tests" / "fx_tests" / "checkpoint_writer.py"
    outcomes, rng = [], python_random.Random(0)
    path = folder / "model.safetensors"
    with subprocess.Popen(
        [sys.executable, script, folder, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as writers:  # fmt: skip
        for _ in range(times):
            writers.stdin.write("\n")
            writers.stdin.flush()
            pid = int(writers.stdout.readline())
            while not path.exists():
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.01))
            os.kill(pid, signal.SIGKILL)
            while "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
                time.sleep(0.0005)
            cut = any(name.endswith(".tmp") for name in os.listdir(folder))
            try:
                loaded = io.load(path)
                outcomes.append(
                    (
                        how == "careless"
                        or len({*loaded["w"], *loaded["layers"][0].flat, loaded["layers"][1][0]}) == 1,
                        cut,
                    )
                )
            except CorruptFileError:
                outcomes.append((False, cut))
        writers.stdin.close()
    return outcomes


def test_two_hundred_kills_leave_a_whole_checkpoint_each(tmp_path):
    outcomes = kills(tmp_path, "atomic", 200)
    assert all(whole for whole, _ in outcomes)
    assert sum(cut for _, cut in outcomes) > 20  # they did come while a file was being written


def test_kills_of_a_careless_writer_are_noticed(tmp_path):
    assert not all(whole for whole, _ in kills(tmp_path, "careless", 15))


# ------------------------------------------------------------------------------------------- PyTorch


def test_weights_of_a_torch_model_give_its_outputs(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, (3, 2)), torch.nn.ReLU(), torch.nn.ConvTranspose2d(4, 2, 3, stride=2), torch.nn.Flatten(),
        torch.nn.Linear(2 * 9 * 11, 5),
    )  # fmt: skip
    x = R.normal(size=(2, 3, 6, 6)).astype(np.float32)
    with torch.no_grad():
        want = theirs(torch.from_numpy(x)).numpy()
        hidden = theirs[:3](torch.from_numpy(x)).shape
    pytest.importorskip("safetensors.torch").save_file(theirs.state_dict(), tmp_path / "torch.safetensors")
    like = {
        "conv": {"weight": np.zeros((3, 2, 3, 4), np.float32), "bias": fnp.zeros(4)},
        "up": {"weight": fnp.zeros((3, 3, 4, 2)), "bias": fnp.zeros(2)},
        "out": {"weight": fnp.zeros((198, 5)), "bias": fnp.zeros(5)},
    }
    names = {"conv": "0", "up": "2", "out": "4"}
    layouts = {"up.weight": "conv_transpose"}
    for source in (tmp_path / "torch.safetensors", theirs.state_dict()):
        params, report = io.load_torch(source, like, names=names, layouts=layouts)
        assert report.complete

    def model(p, x):
        x = nn.relu(nn.conv(x, p["conv"]["weight"]) + p["conv"]["bias"])
        x = nn.conv(x, p["up"]["weight"], padding=2, input_dilation=2) + p["up"]["bias"]
        return x.transpose(0, 3, 1, 2).reshape(len(x), -1) @ p["out"]["weight"] + p["out"]["bias"]

    assert hidden == (2, 2, 9, 11)
    got = fx.jit(model, backend="reference")(params, np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointMismatchError, match=r"up\.weight: float32\[3, 3, 2, 4\]"):
        io.load_torch(theirs.state_dict(), like, names=names)
    module = nn.Linear(198, 5, key=random.key(0))
    loaded, _ = io.load_torch({k[2:]: v for k, v in theirs.state_dict().items() if k[0] == "4"}, module)
    np.testing.assert_array_equal(np.asarray(loaded.weight), theirs[4].weight.detach().numpy().T)


TWINS = (
    "scattering", "scattering in groups", "convolution in groups", "square embedding", "square norm", "bilinear", "sequential",
    "lstm", "attention", "attention of other sizes", "encoder",
    "encoder that ends in a norm", "decoder",
)  # fmt: skip


def torch_twins():
    """Layers of PyTorch's and ours, with an input and what is called of each."""
    torch = pytest.importorskip("torch")
    t, keys = torch.nn, iter(random.split(random.key(5), 20))
    image, sequence = R.normal(size=(2, 5, 6, 4)), R.normal(size=(2, 5, 4))
    channels = dict(into=lambda x: np.moveaxis(x, -1, 1), out=lambda y: np.moveaxis(y, 1, -1))
    first = dict(call=lambda m, x: m(x)[0])
    return {
        "scattering": (t.ConvTranspose2d(4, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 4, 3, strides=2, padding=1, key=next(keys)), image, channels),
        "scattering in groups": (t.ConvTranspose1d(4, 6, 3, groups=2), nn.ConvTranspose1d(4, 6, 3, groups=2, key=next(keys)), sequence, channels),
        "convolution in groups": (t.Conv2d(4, 6, 3, groups=2), nn.Conv2d(4, 6, 3, groups=2, key=next(keys)), image, channels),
        "square embedding": (t.Embedding(4, 4), nn.Embedding(4, 4, key=next(keys)), np.arange(4), {}),
        "square norm": (t.LayerNorm((4, 4)), nn.LayerNorm((4, 4)), R.normal(size=(2, 4, 4)), {}),
        "bilinear": (t.Bilinear(4, 4, 4), nn.Bilinear(4, 4, 4, key=next(keys)), sequence, dict(call=lambda m, x: m(x, x))),
        "sequential": (t.Sequential(t.Linear(4, 4), t.Sequential(t.ReLU(), t.Linear(4, 2))),
                       nn.Sequential(nn.Linear(4, 4, key=next(keys)), nn.Sequential(nn.relu, nn.Linear(4, 2, key=next(keys)))), sequence, {}),
        "lstm with projections": (t.LSTM(4, 5, proj_size=3, batch_first=True), nn.LSTM(4, 5, proj_features=3, key=next(keys)), sequence,
                                  dict(theirs=first["call"])),
        "lstm": (t.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True),
                 nn.LSTM(4, 3, num_layers=2, bidirectional=True, key=next(keys)), sequence, dict(theirs=first["call"])),
        "attention": (t.MultiheadAttention(4, 2, batch_first=True), nn.MultiHeadAttention(4, 2, key=next(keys)), sequence,
                      dict(theirs=lambda m, x: m(x, x, x)[0])),
        "attention of other sizes": (t.MultiheadAttention(4, 2, kdim=3, vdim=2, batch_first=True),
                                     nn.MultiHeadAttention(4, 2, key_features=3, value_features=2, key=next(keys)), sequence,
                                     dict(call=lambda m, x: m(x, x[..., :3], x[..., :2]), theirs=lambda m, x: m(x, x[..., :3], x[..., :2])[0])),
        "encoder": (t.TransformerEncoder(t.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True, norm_first=True), 2, t.LayerNorm(4), False),
                    nn.TransformerEncoder(2, 4, 2, 8, key=next(keys)), sequence, {}),
        "encoder that ends in a norm": (t.TransformerEncoder(t.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), 2, t.LayerNorm(4), False),
                                        nn.TransformerEncoder(2, 4, 2, 8, norm_first=False, final_norm=True, key=next(keys)), sequence, {}),
        "decoder": (t.TransformerDecoder(t.TransformerDecoderLayer(4, 2, 8, 0.0, batch_first=True), 2),
                    nn.TransformerDecoder(2, 4, 2, 8, norm_first=False, key=next(keys)), sequence,
                    dict(call=lambda m, x: m(x, x), theirs=lambda m, x: m(x, x, tgt_mask=t.Transformer.generate_square_subsequent_mask(5)))),
    }  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_layers_of_torch_load_under_their_own_names_and_go_back(name):
    """Square weights too, which fit whichever way round they are."""
    torch = pytest.importorskip("torch")
    theirs, ours, x, how = torch_twins()[name]
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.from_numpy(R.normal(size=tuple(p.shape)).astype(np.float32)))
        x = x.astype(np.float32) if x.dtype.kind == "f" else x
        call = how.get("call", lambda m, x: m(x))
        into = np.ascontiguousarray(how.get("into", lambda x: x)(x))
        want = how.get("out", lambda y: y)(how.get("theirs", call)(theirs, torch.from_numpy(into)).numpy())
    loaded, report = io.load_torch(theirs, ours)
    assert report.complete
    np.testing.assert_allclose(np.asarray(call(loaded, x)), want, rtol=2e-4, atol=2e-5)
    back, state_dict = io.torch_state_dict(loaded), theirs.state_dict()
    assert back.keys() == state_dict.keys()
    for entry, tensor in state_dict.items():
        np.testing.assert_array_equal(back[entry], tensor.numpy())


def test_grouped_queries_keep_names_of_their_own():
    """PyTorch has no layer of them; what is written is read again."""
    first, second = [
        nn.MultiHeadAttention(8, 4, key_heads=2, key_features=5, key=k) for k in random.split(random.key(0))
    ]
    loaded, report = io.load_torch(io.torch_state_dict(first), second)
    assert report.complete
    np.testing.assert_array_equal(np.asarray(loaded.keys.weight), np.asarray(first.keys.weight))
    np.testing.assert_array_equal(np.asarray(loaded.values.bias), np.asarray(first.values.bias))


def test_running_statistics_of_torch_load_with_the_model(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    theirs(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    ours = nn.Sequential(nn.Linear(3, 4, key=random.key(0)), nn.BatchNorm(4))
    state, renamed = nn.init_state(ours), {f"body.{k}": v for k, v in theirs.state_dict().items()}
    (model, loaded), report = io.load_torch(theirs.state_dict(), (ours, state))
    for names in ({"0": "", "1": ""}, {"layers": ""}, {"layers": "body"}, {"0.layers": "body", "1/layers": "body"}):
        found = renamed if "body" in names.values() else theirs.state_dict()
        pair, report = io.load_torch(found, (ours, state), names=names)
        assert report.complete
        same(pair, (model, loaded))
    np.testing.assert_array_equal(loaded["layers"][1]["variance"], theirs[1].running_var.numpy())
    with pytest.raises(ArgumentError, match=r"begins with 'bodies'. The paths are layers.0.weight"):
        io.load_torch(renamed, (ours, state), names={"bodies": "body"})
    with pytest.raises(CheckpointMismatchError, match="Running statistics are state: load into"):
        io.load_torch(theirs.state_dict(), ours)
    io.write_safetensors(tmp_path / "back.safetensors", io.torch_state_dict(model, loaded))
    back = pytest.importorskip("safetensors.torch").load_file(tmp_path / "back.safetensors")
    theirs.load_state_dict(back, strict=False)
    assert {*back} == {n for n in theirs.state_dict() if not n.endswith("num_batches_tracked")}


def test_a_field_of_a_module_of_ones_own_is_not_renamed():
    """``query`` and ``layers`` mean what they mean in attention and ``Sequential`` there alone."""

    class Own(nn.Module):
        layers: list
        query: nn.Linear

    keys = random.split(random.key(0), 2)
    own = Own([nn.Linear(2, 3, key=keys[0])], nn.Linear(3, 1, key=keys[1]))
    sent = io.torch_state_dict(own)
    assert [*sent] == ["layers.0.weight", "layers.0.bias", "query.weight", "query.bias"]
    loaded, _ = io.load_torch(sent, own)
    same(loaded, own)


@pytest.mark.parametrize("begins", [b"PK\x03\x04" + bytes(50), b"\x80\x02}q\x00."])
def test_a_file_of_torch_save_is_told_apart(tmp_path, begins):
    (tmp_path / "model.pt").write_bytes(begins)
    with pytest.raises(CorruptFileError, match="save_file"):
        io.load_torch(tmp_path / "model.pt", {"w": np.zeros(2)})


def test_what_no_file_holds_is_named(tmp_path):
    with pytest.raises(DTypeError, match="'names' cannot be saved"):
        io.save(tmp_path / "a.safetensors", {"names": np.array(["a", "b"]), "w": np.ones(2)})
    assert not [*tmp_path.iterdir()]
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        io.CheckpointManager(tmp_path / "file")


def test_an_older_checkpoint_that_is_damaged_ends_no_run(tmp_path):
    manager = io.CheckpointManager(tmp_path, keep_last=2, best="loss")
    manager.save(1, {"w": np.ones(2)}, metrics={"loss": 1.0})
    manager.path(1).write_bytes(b"damaged")
    manager.save(2, {"w": np.ones(2)}, metrics={"loss": 2.0})
    assert manager.best_step() == 2
    manager.path(2).write_bytes(b"damaged")
    with pytest.raises(CorruptFileError) as caught:
        manager.restore()
    assert "without the damaged file" in caught.value.__notes__[0]


def test_numbers_without_axes_come_from_pytorch_and_go_there():
    """A temperature, a scale of logits."""
    theirs = {"logit_scale": np.array(2.5, np.float32), "fc.weight": np.ones((3, 2), np.float32)}
    template = {"logit_scale": np.float32(0), "fc": {"weight": np.zeros((2, 3), np.float32)}}
    values, _ = io.load_torch(theirs, template)
    assert values["logit_scale"].shape == () and values["logit_scale"] == 2.5
    assert {n: a.shape for n, a in io.torch_state_dict(values).items()} == {"logit_scale": (), "fc.weight": (3, 2)}


class Elsewhere:
    """A tensor of another device."""

    def __array__(self, *args, **options):
        raise TypeError("can't convert it to numpy")


def test_weights_that_cannot_be_turned_do_not_fit():
    turned = nn.ConvTranspose2d(3, 4, 2, key=random.key(0))
    heads = nn.MultiHeadAttention(4, 2, key=random.key(0))
    for model, source in (
        (turned, {"weight": np.ones(3)}),
        (turned, {"weight": np.float32(1)}),
        (heads, {"in_proj_weight": np.float32(1)}),
    ):
        with pytest.raises(CheckpointMismatchError, match="misshapen"):
            io.load_torch(source, model)
    with pytest.raises(ShapeError, match=r"'conv' is of arrays of 3 axes or more; found shape \(\)"):
        io.from_torch_layout(np.float32(1), "conv")


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: io.load_torch(None, {}), ArgumentError, "a state_dict or a module of PyTorch's; found NoneType"),
        (
            lambda: io.load_torch({"a": np.ones(2)}, {"a": np.ones(2)}, names=3),
            ArgumentError,
            "names is a dict .*; found 3",
        ),
        (lambda: io.load_torch({"a": np.ones(2)}, {"a": np.ones(2)}, names={"a": 3}), ArgumentError, "names is a dict"),
        (
            lambda: io.load_torch({"a": Elsewhere()}, {"a": np.ones(2)}),
            CheckpointError,
            "the entry 'a' cannot",
        ),
        (lambda: io.save("unused", {"a": np.ma.masked_array([1.0], [True])}), CheckpointError, "'a' is a masked array"),
    ],
)
def test_what_is_no_source_is_told(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_what_befalls_older_checkpoints_ends_no_run(tmp_path, monkeypatch):
    """Of another version, gone since they were listed, not to be removed; and a folder of such a name is none."""
    manager = io.CheckpointManager(tmp_path, keep_last=1, best="loss", keep_best=2)
    for step in (1, 2):
        manager.save(step, {"w": np.ones(2)}, metrics={"loss": 1.0})
    whole = manager.path(1).read_bytes()
    manager.path(1).write_bytes(whole.replace(b"fx pytree 1", b"fx pytree 9"))
    (tmp_path / "step-0000000099.safetensors").mkdir()
    monkeypatch.setattr(manager, "steps", lambda: [1, 2, 3, 50])
    manager.save(3, {"w": np.ones(2)}, metrics={"loss": 1.0})
    monkeypatch.undo()
    assert manager.steps() == [2, 3] and manager.best_step() == 3

    def refuses(*args, **options):
        raise PermissionError(13, "not yours")

    monkeypatch.setattr(Path, "unlink", refuses)
    manager.save(4, {"w": np.ones(2)}, metrics={"loss": 0.5})
    assert manager.steps() == [2, 3, 4] and manager.restore()["w"].tolist() == [1.0, 1.0]


def test_a_folder_that_cannot_be_made_is_told():
    with pytest.raises(CheckpointError, match="cannot be made: .* Choose another one"):
        io.CheckpointManager("/dev/null/runs")


def test_names_that_are_no_paths_of_the_model_are_named():
    """A map the wrong way round; paths are written with dots or slashes."""
    template = {"dense": {"weight": np.zeros((4, 3), np.float32), "bias": np.zeros(3, np.float32)}}
    source = {"fc.weight": np.ones((3, 4), np.float32), "fc.bias": np.ones(3, np.float32)}
    for right in ({"dense": "fc"}, {"dense/weight": "fc.weight", "dense.bias": "fc.bias"}):
        assert io.load_torch(source, template, names=right)[1].complete
    with pytest.raises(
        ValueError, match="begins with 'fc', 'x'. The paths are dense.bias, dense.weight|begins with 'fc', 'x'"
    ):
        io.load_torch(source, template, names={"fc": "dense", "x": "y"})
