"""``fx.data``: the same elements at every run and after every stop; clear errors for data that cannot be used."""

from __future__ import annotations

import gc
import gzip
import hashlib
import importlib
import io as io_module
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import data, io, random
from fx.data import fetch, prefetching
from fx.errors import CorruptFileError, DataError, MissingDataError, ShapeError


def listed(dataset, n=40, **options):
    return [np.asarray(x).tolist() for _, x in zip(range(n), dataset.iterator(**options))]


SQUARES = data.from_arrays(np.arange(20)).map(lambda x: x * x)
STREAM = data.from_iterator(lambda: iter(range(17)))
PIPELINES = {
    "arrays": data.from_arrays(np.arange(5)),
    "batches": data.from_arrays({"x": np.arange(7), "y": np.arange(7.0)}).batch(3).map(lambda b: b["x"] + b["y"]),
    "shuffled": data.from_arrays(np.arange(13)).shuffle(3).batch(4).repeat(3),
    "map, shuffle": SQUARES.shuffle(1).batch(3, drop_last=True).repeat(2),
    "random map": SQUARES.map(lambda rng, x: x + rng.random(), seed=5).batch(4).repeat(2),
    "keyed map": data.from_arrays(np.arange(4)).map(lambda k, x: random.uniform(k) + x, key=random.key(0)).repeat(2),
    "filter": SQUARES.filter(lambda x: x % 3).shuffle(2, buffer=4).batch(3).repeat(2),
    "stream": STREAM.shuffle(0, buffer=6).batch(4).repeat(2),
    "prefetch": SQUARES.shuffle(7).map(lambda x: x + 1).batch(3).prefetch(3, threads=2).repeat(2).prefetch(2),
    "take": SQUARES.shuffle(4).take(9).repeat(2).batch(4),
    "skip": SQUARES.shuffle(4).skip(9).repeat(2).batch(4),
    "checked": data.from_arrays(np.arange(12.0)).check_finite().batch(4),
}


def test_a_data_set_reads_as_it_was_written():
    shown = data.from_arrays((np.ones((4, 2)), np.arange(4))).map(len).shuffle(seed=0).batch(2).skip(1).repeat()
    assert repr(shown) == (
        "Dataset(4 examples, [0]: float64[2], [1]: int64[]).map(len).shuffle(seed=0).batch(size=2, drop_last=False).skip(n=1).repeat()"
    )
    assert listed(SQUARES.skip(17)) == [289, 324, 361] and len(SQUARES.skip(17)) == 3 and not listed(SQUARES.skip(40))
    for name, says in (("cache", "list\\(dataset\\)"), ("zip", "from_arrays"), ("step", "no attribute 'step'$")):
        with pytest.raises(AttributeError, match=says):
            getattr(SQUARES, name)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_stop_anywhere_changes_nothing(name, tmp_path):
    pipeline = PIPELINES[name]
    whole = listed(pipeline)
    assert whole == listed(pipeline) and len(whole) > 2
    for stop in range(0, len(whole), 3):
        it = pipeline.iterator()
        assert [np.asarray(next(it)).tolist() for _ in range(stop)] == whole[:stop]
        io.save(tmp_path / "state", it.state, sync=False)
        it.close()
        assert listed(pipeline, state=io.load(tmp_path / "state")) == whole[stop:]


def test_steps_do_what_lists_do():
    assert listed(SQUARES) == [i * i for i in range(20)]
    assert listed(SQUARES.filter(lambda x: x % 2).batch(4)) == [[1, 9, 25, 49], [81, 121, 169, 225], [289, 361]]
    assert (
        len(SQUARES.batch(3)) == 7
        and len(SQUARES.batch(3, drop_last=True)) == 6
        and len(SQUARES.repeat(2).take(30)) == 30
    )
    for shuffled in (SQUARES.shuffle(0), SQUARES.shuffle(0, buffer=5), SQUARES.shuffle(0).batch(7).map(lambda b: b)):
        got = np.concatenate([np.ravel(x) for x in listed(shuffled)])
        assert sorted(got) == [i * i for i in range(20)] and list(got) != sorted(got)
    first, second = np.array(listed(SQUARES.shuffle(0).repeat(2))).reshape(2, 20)
    assert sorted(first) == sorted(second) and list(first) != list(second)
    assert listed(SQUARES.shuffle(0), epoch=1) == second.tolist()
    assert listed(SQUARES.shuffle(1)) != first.tolist()
    with pytest.raises(TypeError, match="how many"):
        len(STREAM.batch(2))


def test_orders_are_the_same_on_every_machine():
    digest = hashlib.sha256(np.array(listed(data.from_arrays(np.arange(1000)).shuffle(7), 1000), "<i4")).hexdigest()
    assert digest[:16] == "4b4d1e7721ba8688"


def test_elements_ahead_are_computed_in_threads_and_in_order():
    seen, running, most = set(), 0, 0
    gate = threading.Lock()

    def slow(x):
        nonlocal running, most
        with gate:
            running += 1
            most = max(most, running)
            seen.add(threading.current_thread().name)
        time.sleep(0.01)
        with gate:
            running -= 1
        return x

    assert listed(data.from_arrays(np.arange(12)).map(slow).prefetch(6, threads=3)) == list(range(12))
    assert 1 < most <= 3 and all(name.startswith("fx-prefetch") for name in seen)
    begun = threading.active_count()
    it = data.from_arrays(np.arange(12)).map(slow).prefetch(2).iterator()
    next(it)
    it.close()
    assert threading.active_count() == begun


@pytest.mark.parametrize("threads", [1, 3])
def test_errors_come_where_their_elements_would(threads):
    def fails(x):
        if x == 3:
            raise KeyError("three")
        return x

    it = data.from_arrays(np.arange(6)).map(fails).prefetch(4, threads=threads).iterator()
    assert [int(next(it)) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(it)
    it = data.from_iterator(lambda: (fails(i) for i in range(6))).prefetch(4).iterator()
    assert [int(next(it)) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(it)


def test_threads_end_without_a_lock():
    """Garbage is collected where some thread happens to be, such as inside of a lock that the threads wait for."""
    entered, go = threading.Event(), threading.Lock()

    def waits(x):
        entered.set()
        with go:
            return x

    def collects():
        ring = [data.from_arrays(np.arange(9)).map(waits).prefetch(3, threads=2).iterator()]
        ring.append(ring)
        entered.wait(10)
        del ring
        gc.collect()

    with go:
        thread = threading.Thread(target=collects, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    deadline = time.monotonic() + 10
    while any(t.name.startswith("fx-prefetch") for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not any(t.name.startswith("fx-prefetch") for t in threading.enumerate())


def test_ctrl_c_while_an_element_is_waited_for_loses_none(monkeypatch):
    waited = []

    class Interrupted(Future):
        def exception(self, timeout=None):
            waited.append(self)
            if len(waited) == 1:
                raise KeyboardInterrupt
            return super().exception(timeout)

    monkeypatch.setattr(prefetching, "Future", Interrupted)
    iterator = data.from_arrays(np.arange(4)).prefetch(2).iterator()
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    assert [int(x) for x in iterator] == [0, 1, 2, 3]


# ----------------------------------------------------------------------------------------- sources


def idx(array, code):
    head = bytes([0, 0, code, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


PIXELS = np.random.RandomState(0).randint(0, 256, (6, 2, 3)).astype(np.uint8)


def test_files_give_their_examples(tmp_path):
    (tmp_path / "x").write_bytes(idx(PIXELS, 8))
    (tmp_path / "y.gz").write_bytes(gzip.compress(idx(np.arange(6, dtype=np.int32), 12)))
    images, labels = next(iter(data.from_idx(tmp_path / "x", tmp_path / "y.gz").batch(6)))
    np.testing.assert_array_equal(images, PIXELS)
    assert labels.tolist() == list(range(6))
    np.savez(tmp_path / "a.npz", x=PIXELS, y=labels)
    np.testing.assert_array_equal(next(iter(data.from_npz(tmp_path / "a.npz", ["x"]).batch(6)))["x"], PIXELS)
    np.save(tmp_path / "a.npy", PIXELS)
    (tmp_path / "raw").write_bytes(PIXELS.tobytes())
    for mapped in (data.from_memmap(tmp_path / "a.npy"), data.from_memmap(tmp_path / "raw", np.uint8, (-1, 2, 3))):
        np.testing.assert_array_equal(np.concatenate(list(mapped.batch(4))), PIXELS)
        assert type(mapped.gather(np.array([1]))) is np.ndarray
    (tmp_path / "t.csv").write_text("a, b,c\n1,2,3\n\n4,,6\n")
    x, y = next(iter(data.from_csv(tmp_path / "t.csv", target="c", missing=-1).batch(9)))
    assert x.tolist() == [[1, 2], [4, -1]] and y.tolist() == [3, 6] and x.dtype == np.float32
    (tmp_path / "gaps.csv").write_text("a,b\nNA,2\nnan, null\n?,5\n")
    assert np.stack(list(data.from_csv(tmp_path / "gaps.csv", missing=0))).tolist() == [[0, 2], [0, 0], [0, 5]]


def test_folders_of_images_are_classes(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name, value in (("cat", 0), ("dog", 255)):
        (tmp_path / name).mkdir()
        for i in range(2):
            image.fromarray(np.full((4 + i, 6), value, np.uint8)).save(tmp_path / name / f"{i}.png")
    batch = next(iter(data.from_folder(tmp_path, size=(2, 3), channels=1).batch(4)))
    assert batch["image"].shape == (4, 2, 3, 1) and batch["label"].tolist() == [0, 0, 1, 1]
    assert batch["image"].mean(axis=(1, 2, 3)).tolist() == [0, 0, 1, 1]
    with pytest.raises(ShapeError, match="size="):
        next(iter(data.from_folder(tmp_path).batch(4)))
    deep = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2849  # up to 65527
    image.fromarray(deep).save(tmp_path / "cat" / "0.png")
    (tmp_path / "cat" / "1.png").unlink()
    image.fromarray(deep.astype(np.float32)).save(tmp_path / "cat" / "1.tif")
    np.save(tmp_path / "cat" / "2.npy", deep)
    for at, white, channels in ((0, 65535, 1), (0, 65535, 3), (1, 1, 1), (2, 65535, 1)):
        found = data.from_folder(tmp_path, channels=channels).gather(np.array([at]))["image"]
        wanted = np.repeat(deep[None, ..., None] / np.float32(white), channels, 3)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    image.fromarray(deep.astype(np.int32)).save(tmp_path / "cat" / "1.tif")
    with pytest.raises(DataError, match="32 bits"):
        data.from_folder(tmp_path).gather(np.array([1]))
    (tmp_path / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(CorruptFileError, match="0.png"):
        next(iter(data.from_folder(tmp_path)))


def archived():
    file = io_module.BytesIO()
    np.savez(file, a=np.arange(3))
    return file.getvalue()


BAD_FILES = {
    "idx": (b"\1\2\3\4", lambda p: data.read_idx(p), CorruptFileError, "no IDX file"),
    "idx header": (idx(PIXELS, 8)[:7], lambda p: data.read_idx(p), CorruptFileError, "cut off"),
    "idx body": (idx(PIXELS, 8)[:-1], lambda p: data.read_idx(p), CorruptFileError, "36 bytes of numbers; found 35"),
    "idx gz": (gzip.compress(idx(PIXELS, 8))[:-9], lambda p: data.read_idx(p), CorruptFileError, "cut off"),
    "idx axes": (b"\0\0\x08\x41" + b"\0\0\0\1" * 65 + b"\1", lambda p: data.read_idx(p), CorruptFileError, "65 axes"),
    "memmap of npz": (archived(), lambda p: data.from_memmap(p), DataError, "data.from_npz"),
    "memmap of half a npz": (archived()[:200], lambda p: data.from_memmap(p), DataError, "an archive of arrays"),
    "raw empty": (b"", lambda p: data.from_memmap(p, "f4"), CorruptFileError, "is empty"),
    "raw shape": (b"1234", lambda p: data.from_memmap(p, "f4", (-1, 0)), ShapeError, "positive sizes"),
    "csv long": (b"a,b\n1,\"" + b"x" * 150_000, lambda p: data.from_csv(p), DataError, "cannot be read as a table"),
    "csv encoding": (b"a\n1\n", lambda p: data.from_csv(p, encoding="none"), DataError, "unknown encoding"),
    "npz": (b"PK\3\4no", lambda p: data.from_npz(p), CorruptFileError, "no whole .npz"),
    "npy": (b"\x93NUMPY", lambda p: data.from_memmap(p), CorruptFileError, "no whole .npy"),
    "raw": (b"1234567", lambda p: data.from_memmap(p, "f4", (-1,)), CorruptFileError, "7 bytes"),
    "csv empty": (b"", lambda p: data.from_csv(p), DataError, "is empty"),
    "csv head": (b"a,b\n", lambda p: data.from_csv(p), DataError, "no line besides"),
    "csv fields": (b"a,b\n1,2\n1\n", lambda p: data.from_csv(p), DataError, "line 3: 1 fields, 2 columns"),
    "csv text": (b"a,b\n1,x\n", lambda p: data.from_csv(p), DataError, "line 2, column 'b': 'x' is no number"),
    "csv gap": (b"a,b\n1,\n", lambda p: data.from_csv(p), DataError, "missing="),
    "csv NA": (b"a,b\n1,NA\n", lambda p: data.from_csv(p), DataError, "'NA' is no number; missing="),
    "csv names": (b"a,b\n1,x\n", lambda p: data.from_csv(p, target="c"), DataError, r"no column 'c'; it has \['a', 'b'\]"),
    "csv nan": (b"a,b\n1,2\n1,nan\n", lambda p: data.from_csv(p), DataError, r"row 1 of \['b'\]"),
    "csv target": (b"a,b\n1,2\n", lambda p: data.from_csv(p, target="c"), DataError, "no column 'c'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_damaged_files_are_told(tmp_path, name):
    content, read, error, message = BAD_FILES[name]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(error, match=message):
        read(tmp_path / "file")


BROKEN = np.array([[1.0, 2.0], [3.0, np.nan]])
BAD_DATA = {
    "empty": (lambda: data.from_arrays(np.zeros((0, 3))), DataError, "empty"),
    "lengths": (lambda: data.from_arrays((np.ones(2), np.ones(3))), ShapeError, "one length"),
    "no axis": (lambda: data.from_arrays(np.float32(1)), ShapeError, "one length"),
    "nan": (lambda: data.from_arrays((np.ones(2), BROKEN), check=True), DataError, r"row 1 of \[1\] has nan at \(1,\)"),
    "nan later": (lambda: list(data.from_arrays({"x": BROKEN}).check_finite()), DataError, r"element 1\['x'\]"),
    "shapes": (lambda: list(data.from_iterator(lambda: map(np.ones, (2, 3))).batch(2)), ShapeError, "element 1 .* shape"),
    "structures": (lambda: list(data.from_iterator(lambda: iter([1, (1,)])).batch(2)), ShapeError, "structure"),
    "no buffer": (lambda: STREAM.shuffle(0), DataError, "buffer=1000"),
    "iterator": (lambda: data.from_iterator(iter([1])), DataError, "anew for every pass"),
    "endless": (lambda: next(data.from_iterator(list).repeat().iterator()), DataError, "empty"),
    "size": (lambda: SQUARES.batch(0), ShapeError, "positive"),
    "threads": (lambda: SQUARES.prefetch(threads=0), DataError, "one thread"),
    "seed and key": (lambda: SQUARES.map(abs, seed=1, key=random.key(0)), DataError, "not both"),
    "split": (lambda: data.split(3, 0.1), DataError, "empty"),
    "labels": (lambda: data.split(3, 1, labels=[0, 1]), DataError, "one label"),
    "folds": (lambda: data.k_fold(3, 4), DataError, "from 2"),
    "crop": (lambda: data.random_crop(random.key(0), np.ones((1, 4, 4, 1)), (5, 5)), ShapeError, "padding"),
    "no batch": (lambda: data.cutout(random.key(0), np.ones((4, 4)), 2), ShapeError, "batch, height"),
    "labels mixed": (lambda: data.mixup(random.key(0), np.ones((2, 4, 4, 1)), np.arange(2)), DataError, "one-hot"),
    "folder": (lambda: data.from_folder("/nowhere"), DataError, "no folder"),
    "held out": (lambda: data.split(10, float("nan")), DataError, "found nan"),
    "held out true": (lambda: data.split(10, True), DataError, "found True"),
    "split's seed": (lambda: data.split(10, 0.2, seed=-1), DataError, "a seed, an int from 0"),
    "half a fold": (lambda: data.k_fold(10, 2.5), DataError, "an int from 2 .*; found 2.5"),
    "mixup of none": (lambda: data.mixup(random.key(0), IMAGES, np.eye(64), 0.0), DataError, "a positive number; found 0.0"),
    "probability": (lambda: data.random_flip(random.key(0), IMAGES, 2.5), DataError, "from 0 to 1; found 2.5"),
    "degrees": (lambda: data.random_rotation(random.key(0), IMAGES, None), DataError, "degrees is a number"),
    "std": (lambda: data.add_noise(random.key(0), IMAGES, None), DataError, "std is a number of at least 0; found None"),
    "cutout": (lambda: data.cutout(random.key(0), IMAGES, -1), ShapeError, "a positive size; found -1"),
    "delimiter": (lambda: data.from_csv("x", delimiter=";;"), DataError, "one character; found ';;'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_that_cannot_be_used_is_told(name):
    wrong, error, message = BAD_DATA[name]
    with pytest.raises(error, match=message):
        wrong()


# ------------------------------------------------------------------------------------------ splits


def test_parts_and_batches_take_numbers_of_numpy_and_slices():
    assert data.split(10, np.float32(0.3))[1].tolist() == data.split(10, 0.3)[1].tolist()
    assert data.split(10, np.int64(3))[1].tolist() == data.split(10, 3)[1].tolist()
    batches = data.batches([np.arange(7)], np.int64(3))
    assert [x.tolist() for (x,) in batches[1:]] == [[3, 4, 5], [6]] and batches[np.int64(-1)][0].tolist() == [6]


def test_splits_keep_the_shares_of_labels():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    train, held = data.split(100, 0.2, labels=labels, seed=3)
    assert np.bincount(labels[held]).tolist() == [10, 6, 4] and sorted([*train, *held]) == list(range(100))
    assert data.split(100, 0.2, seed=4)[1].tolist() != data.split(100, 0.2, seed=5)[1].tolist()
    folds = data.k_fold(100, 4, labels=labels)
    assert sorted(np.concatenate([f for _, f in folds])) == list(range(100))
    for training, fold in folds:
        counts = np.bincount(labels[fold], minlength=3)
        assert (np.abs(counts - np.array([12.5, 7.5, 5])) < 1).all() and not set(training) & set(fold)


# -------------------------------------------------------------------------------------- transforms


def sources():
    return {"key": random.key(1), "generator": np.random.default_rng(1)}


IMAGES = np.random.RandomState(0).uniform(0.1, 1, (64, 8, 6, 2)).astype(np.float32)


@pytest.mark.parametrize("source", ["key", "generator"])
def test_transforms_keep_what_they_promise(source):
    draw = lambda: sources()[source]
    kind = fx.Array if source == "key" else np.ndarray
    crop = data.random_crop(draw(), IMAGES, (5, 4))
    pieces = {IMAGES[3, r : r + 5, c : c + 4].tobytes() for r in range(4) for c in range(3)}
    assert np.asarray(crop)[3].tobytes() in pieces and crop.shape == (64, 5, 4, 2) and isinstance(crop, kind)
    assert data.random_crop(draw(), IMAGES, (8, 6), padding=2).shape == IMAGES.shape
    flip = np.asarray(data.random_flip(draw(), IMAGES))
    turned = (flip == IMAGES[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (turned | (flip == IMAGES).all(axis=(1, 2, 3))).all() and 15 < turned.sum() < 49
    holes = (np.asarray(data.cutout(draw(), IMAGES, 3)) == 0)[..., 0].sum(axis=(1, 2))
    assert holes.max() == 9 and holes.min() >= 4
    noise = np.asarray(data.add_noise(draw(), IMAGES, 0.5)) - IMAGES
    assert 0.48 < noise.std() < 0.52 and noise.dtype == np.float32
    np.testing.assert_allclose(np.asarray(data.random_rotation(draw(), IMAGES, 0.0)), IMAGES, rtol=1e-6)
    slope = np.broadcast_to(np.arange(9, dtype=np.float32)[None, None, :, None], (20, 9, 9, 1))
    tilted = np.asarray(data.random_rotation(draw(), slope, 20.0))[:, 4]
    angles = np.arccos(np.clip((tilted[:, 5, 0] - tilted[:, 3, 0]) / 2, -1, 1))
    assert np.allclose(tilted[:, 4, 0], 4, atol=1e-4) and 5 < np.degrees(angles).max() <= 20.1
    mixed, targets = data.mixup(draw(), IMAGES, np.eye(64, dtype=np.float32), 1.0)
    np.testing.assert_allclose(np.tensordot(np.asarray(targets), IMAGES, 1), np.asarray(mixed), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(targets).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(data.normalise(IMAGES, [0.5, 0.2], 2.0), (IMAGES - [0.5, 0.2]) / 2, rtol=1e-5)


@pytest.mark.parametrize("source", ["key", "generator"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "float16", "float64"])
def test_transforms_of_integers_compute_in_floats(source, dtype):
    """As they do on the same numbers in float32; what only moves pixels keeps the dtype."""
    draw, kind = lambda: sources()[source], np.dtype(dtype)
    images = (IMAGES > 0.5).astype(kind) * (1 if kind.kind == "b" else 20)
    images, wide = images.astype(kind), images.astype(np.float32)
    computing = {
        "noise": lambda x: data.add_noise(draw(), x, 0.5),
        "mixup": lambda x: data.mixup(draw(), x, np.eye(64, dtype=np.float32), 1.0)[0],
        "rotation": lambda x: data.random_rotation(draw(), x, 20.0),
        "normalise": lambda x: data.normalise(x, [0.5, 0.2], 2.0),
    }
    for name, change in computing.items():
        got, want = np.asarray(change(images)), np.asarray(change(wide))
        assert got.dtype == (kind if kind.kind == "f" else np.float32), name
        if kind.kind != "f":
            np.testing.assert_array_equal(got, want, err_msg=name)
    for change in (
        lambda x: data.random_crop(draw(), x, 5, 1),
        lambda x: data.random_flip(draw(), x),
        lambda x: data.cutout(draw(), x, 3),
    ):
        got = np.asarray(change(images))
        assert got.dtype == kind and np.array_equal(got, np.asarray(change(wide)).astype(kind))


def test_normalise_takes_lists():
    np.testing.assert_array_equal(data.normalise([[1, 2], [3, 4]], 1, 2), [[0, 0.5], [1, 1.5]])


def test_transforms_are_compiled():
    def augment(key, images):
        for i, change in enumerate(
            (lambda k, x: data.random_crop(k, x, (7, 6), 1), data.random_flip, data.random_rotation)
        ):
            images = change(random.fold_in(key, i), images)
        return images

    want = np.asarray(augment(random.key(0), fnp.asarray(IMAGES)))
    got = fx.jit(augment, backend="reference")(random.key(0), IMAGES)
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------- the data sets


def test_small_data_sets_are_scikit_learn_s():
    sets = pytest.importorskip("sklearn.datasets")
    for ours, theirs in (
        (data.diabetes(), sets.load_diabetes(scaled=False)),
        (data.breast_cancer(), sets.load_breast_cancer()),
    ):
        np.testing.assert_array_equal(ours.features, theirs.data)
        np.testing.assert_array_equal(ours.targets, theirs.target)
        assert list(ours.names) == list(theirs.feature_names)
    theirs = sets.load_digits()
    np.testing.assert_array_equal(data.digits().images[..., 0] * 16, theirs.images)
    np.testing.assert_array_equal(data.digits().labels, theirs.target)


def test_sunspots_are_monthly():
    times, numbers, _ = data.sunspots()
    assert np.allclose(np.diff(times[:, 0]), 1 / 12) and numbers.min() == 0 and numbers.max() == 253.8
    assert times[numbers.argmax(), 0] == pytest.approx(1957 + 9 / 12)


def test_the_whole_of_mnist_is_fetched_checked_and_asked_for(tmp_path, monkeypatch):
    module = importlib.import_module("fx.data.mnist")
    mirror, files = tmp_path / "mirror", []
    mirror.mkdir()
    for name, n in (("train", 6), ("t10k", 3)):
        for kind, array in (
            ("images-idx3", np.full((n, 28, 28), 51, np.uint8)),
            ("labels-idx1", np.arange(n, dtype=np.uint8)),
        ):
            content = gzip.compress(idx(array, 8), mtime=0)
            (mirror / f"{name}-{kind}-ubyte.gz").write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            files.append(fetch.RemoteFile(f"{name}-{kind}-ubyte.gz", digest, ("file:///nowhere/", f"file://{mirror}/")))
    monkeypatch.setattr(module, "_REMOTE", tuple(files))
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path / "cache"))
    for _ in range(2):
        train, test = data.mnist(full=True)
        assert (
            train.images.shape == (6, 28, 28, 1)
            and test.labels.tolist() == [0, 1, 2]
            and np.allclose(train.images, 0.2)
        )
    kept = sorted(p.name for p in (tmp_path / "cache" / "mnist").iterdir())
    assert kept == sorted(f.name for f in files)
    (tmp_path / "cache" / "mnist" / files[0].name).write_bytes(b"other")
    with pytest.raises(CorruptFileError, match="SHA-256"):
        data.mnist(full=True)
    for file in mirror.iterdir():
        file.rename(tmp_path / file.name)
    place = tmp_path / "elsewhere"
    with pytest.raises(MissingDataError) as e:
        data.mnist(full=True, folder=place)
    for part in (str(place), *[f.name for f in files], "put them into", files[0].sha256):
        assert part in str(e.value)
    place.mkdir(exist_ok=True)
    for file in files:
        (place / file.name.removesuffix(".gz")).write_bytes(gzip.decompress((tmp_path / file.name).read_bytes()))
    assert data.mnist(full=True, folder=place).train.images.shape == (6, 28, 28, 1)


# ------------------------------------------------------------------------------- what a beginner writes


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_classes_of_a_table_are_numbered_in_their_order(tmp_path):
    path = written(tmp_path, "a,kind\n1,dog\n2,cat\n3, dog\n")
    x, y = next(iter(data.from_csv(path, target="kind", classes=["cat", "dog"]).batch(3)))
    assert y.dtype == np.int32 and y.tolist() == [1, 0, 1] and x.tolist() == [[1], [2], [3]]
    with pytest.raises(DataError, match=r"line 2, column 'kind': 'dog' is none of the classes \['cat'\]"):
        data.from_csv(path, target="kind", classes=["cat"])
    with pytest.raises(DataError, match=r"'dog' is no number; of a target with names: classes=\["):
        data.from_csv(path, target="kind")
    with pytest.raises(DataError, match="target= says which"):
        data.from_csv(path, classes=["cat"])


def test_tables_as_other_programs_write_them(tmp_path):
    """A mark of the byte order in front (spreadsheets), another encoding, no line of names, names that are numbers (pandas)."""
    assert data.from_csv(written(tmp_path, "a,b\n1,2\n", "utf-8-sig"), target="a").gather(np.array([0]))[
        1
    ].tolist() == [1]
    path = written(tmp_path, "a,größe\n1,2\n", "latin-1")
    assert len(data.from_csv(path, target="größe", encoding="latin-1")) == 1
    with pytest.raises(DataError, match="is no text in utf-8.*encoding="):
        data.from_csv(path)
    path = written(tmp_path, "1.5,2\n3,4\n")
    with pytest.raises(DataError, match=r"first line names the columns; found numbers, 1.5, 2\..*names=\["):
        data.from_csv(path)
    assert len(data.from_csv(path, names=["a", "b"])) == 2
    assert len(data.from_csv(written(tmp_path, "0,1\n3,4\n"))) == 1
    with pytest.raises(DataError, match="several columns named a"):
        data.from_csv(written(tmp_path, "a,a\n1,2\n"))
    with pytest.raises(DataError, match="delimiter=';'"):
        data.from_csv(written(tmp_path, "a,b\n1;2\n"))


def test_a_folder_knows_the_names_of_its_classes(tmp_path):
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "one.npy", np.zeros((2, 2, 3), np.uint8))
    folder = data.from_folder(tmp_path)
    assert folder.classes == ["cat", "dog"]
    assert next(iter(folder.batch(2)))["label"].tolist() == [0, 1]
    with pytest.raises(ShapeError, match=r"size=\(height, width\), or one number for both; found '8'"):
        data.from_folder(tmp_path, size="8")
    assert data.random_crop(np.random.default_rng(0), np.ones((3, 8, 8, 1)), 6).shape == (3, 6, 6, 1)


BASE = data.from_arrays((np.arange(6.0), np.arange(6)))


def test_arrays_as_images_have_the_shape_that_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "grey.npy", np.full((2, 4), 51, np.uint8))
    (element,) = data.from_folder(tmp_path, channels=1, size=(2, 4))
    np.testing.assert_array_equal(element["image"], np.full((2, 4, 1), 0.2, np.float32))
    for options, says in (
        ({"channels": 3}, r"shape \(2, 4, 1\); an image here is \(height, width, 3\)"),
        ({"channels": 1, "size": (4, 4)}, r"an image here is \(4, 4, 1\)"),
    ):
        with pytest.raises(DataError, match=says):
            list(data.from_folder(tmp_path, **options))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: data.batches(np.ones((6, 2)), 2), ShapeError, r"\(x,\) for one; found one of shape \(6, 2\)"),
        (lambda: data.batches({"x": np.ones(6)}, 2), ShapeError, r"found a dict.*from_arrays\(tree\)"),
        (lambda: data.batches((np.ones(6), 3.0), 2), ShapeError, r"found shapes \[\(6,\), \(\)\]"),
        (lambda: data.batches((np.ones(6),), 2.5), ShapeError, "positive batch size; found 2.5"),
        (lambda: BASE.batch("4"), ShapeError, "batch takes a positive size; found '4'"),
        (lambda: BASE.batch(4.0), ShapeError, "found 4.0"),
        (lambda: BASE.shuffle(random.key(0)), DataError, "shuffle takes a seed, an int"),
        (lambda: data.split(6, 0.5, stratify=[0] * 6), TypeError, "split takes no argument 'stratify'. Here it is called labels."),
        (lambda: data.k_fold(6, 2, random_state=1), TypeError, "Here it is called seed."),
        (lambda: data.split(6, test_size=0.5, held_out=3), TypeError, "Here it is called held_out."),
        (lambda: data.split(np.ones((6, 2)), 0.5), DataError, r"found an array of shape \(6, 2\).*data.split\(len\(x\), 0.1, labels=y\)"),
        (lambda: data.k_fold([0, 1], 2), DataError, r"k_fold takes the number of examples.*found list \[0, 1\]"),
        (lambda: BASE.take(-1), DataError, "at least 0; found -1"),
        (lambda: data.from_arrays([[1, 2], [3, 4]]), ShapeError, "np.asarray makes an array"),
        (lambda: list(BASE.map(lambda e: None).batch(2)), DataError, "gave None for element 0.*return"),
        (lambda: data.normalise(np.ones((2, 4, 4, 3), np.float32), [1, 2], 1.0), ShapeError, "mean for all, or one for each channel"),
        (lambda: data.normalise(np.ones((2, 4, 4, 3), np.float32), 0.0, [1, 0, 1]), DataError, "std is 0"),
    ],
)  # fmt: skip
def test_what_data_cannot_be_made_of_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize(
    "dataset", [BASE, BASE.shuffle(0), BASE.shuffle(0).batch(2)], ids=["plain", "shuffled", "batched"]
)
@pytest.mark.parametrize("ahead", [False, True])
def test_an_error_in_map_says_of_which_element(dataset, ahead):
    def fails(*args):
        if len(args) == 1:
            raise KeyError("lost")

    mapped = dataset.map(fails).batch(2)
    with pytest.raises(KeyError) as caught:
        list(mapped.prefetch(2) if ahead else mapped)
    assert "in map, of element 0 of the pass: [0] float64" in caught.value.__notes__[0]
    two = data.from_arrays((np.arange(6.0), np.arange(6))).map(lambda x, y: x)
    with pytest.raises(TypeError) as caught:
        list(two)
    assert "the function gets as one argument" in caught.value.__notes__[0]
    with pytest.raises(ZeroDivisionError) as caught:
        list(data.from_arrays(np.arange(6)).map(lambda x: 1 // int(x != 3)).batch(4))
    assert "of element 3 of the pass" in caught.value.__notes__[0]


@pytest.mark.parametrize("ahead", [False, True])
def test_an_error_in_map_loses_no_other_element(ahead):
    """What is behind it can be had by those who go on; StopIteration ends nobody else's loop."""
    ended = iter([])
    for fails, error in (
        (lambda x: 1 // int(x != 5), ZeroDivisionError),
        (lambda x: next(ended) if x == 5 else 1, DataError),
    ):
        chain = data.from_arrays(np.arange(8)).map(lambda x, f=fails: f(x) * x).batch(2)
        iterator = (chain.prefetch(2) if ahead else chain).iterator()
        found = [next(iterator).tolist() for _ in range(2)]
        with pytest.raises(error):
            next(iterator)
        assert found + [b.tolist() for b in iterator] == [[0, 1], [2, 3], [6, 7]]


def test_threads_end_wherever_what_began_them_is_collected():
    """Garbage is collected in any thread, in those that it ends too."""
    ready = threading.Event()

    def collects(x):
        return x if x < 3 or not ready.wait(20) else x + 0 * gc.collect()

    iterator = data.from_arrays(np.arange(9)).map(collects).prefetch(3).iterator()
    cycle = [iterator, next(iterator)]
    cycle.append(cycle)
    del iterator, cycle
    ready.set()
    deadline = time.monotonic() + 20
    while any(t.name.startswith("fx-prefetch") for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not any(t.name.startswith("fx-prefetch") for t in threading.enumerate())


def test_an_error_in_filter_says_of_what():
    with pytest.raises(ValueError, match="ambiguous") as caught:
        list(data.from_arrays(np.ones((4, 2))).filter(lambda x: x > 0))
    assert "in filter" in caught.value.__notes__[0] and "float64[2]" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("chain", "state"),
    [
        (data.from_arrays(np.arange(6)), {"index": 7}),
        (data.from_arrays(np.arange(6)).shuffle(0).batch(2), {"index": 7}),
        (data.from_arrays(np.arange(6)).take(3), {"index": 4, "of": {"index": 4}}),
        (data.from_arrays(np.arange(6)).batch(2).repeat(2), {"epoch": 0, "of": {"index": 8}}),
        (data.from_iterator(lambda: iter(range(6))).batch(2), {"index": 7}),
        (data.from_iterator(lambda: iter(range(6))).shuffle(0, buffer=3), {"index": 7}),
    ],
)
def test_a_state_of_more_data_is_no_place_to_go_on(chain, state):
    """Nothing would be left of the pass, and nobody would know."""
    with pytest.raises(DataError, match="it was saved with other data"):
        list(chain.iterator(state))


def test_a_state_behind_the_last_pass_gives_nothing():
    assert list(data.from_arrays(np.arange(4)).repeat(2).iterator({"epoch": 5, "of": {}})) == []


CHAINS = {
    "plain": lambda d: d.batch(2),
    "shuffled": lambda d: d.shuffle(0).batch(2),
    "mapped": lambda d: d.map(lambda x: x).prefetch(),
    "filtered": lambda d: d.filter(lambda x: True).shuffle(0, buffer=3),
    "taken": lambda d: d.take(5).skip(1).batch(2),
    "for ever": lambda d: d.shuffle(0).batch(2).repeat(),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_state_of_other_steps_is_no_place_to_go_on(name):
    dataset = CHAINS[name](data.from_arrays(np.arange(6.0)))
    iterator = dataset.iterator()
    next(iterator)
    next(dataset.iterator(iterator.state))
    fewer = dict(list(iterator.state.items())[:-1]) or {"batch": 3}
    for wrong in ({"batch": 3}, {**iterator.state, "more": 1}, {"index": 1, "epoch": 0}, fewer, 3, []):
        with pytest.raises(DataError, match="it was saved with other steps"):
            dataset.iterator(wrong)
    if "of" in iterator.state:
        with pytest.raises(DataError, match="whose states hold index"):
            dataset.iterator({**iterator.state, "of": {"place": 1}})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda d: d.batch(batch_size=3), "Here it is called size."),
        (lambda d: d.prefetch(num_workers=2), "Here it is called threads."),
        (lambda d: d.shuffle(0, buffer_size=2), "Here it is called buffer."),
        (lambda d: d.repeat(-1), "or None for ever; found -1"),
        (lambda d: d.shuffle(-1), "orders are NumPy's work); found -1"),
        (lambda d: d.filter(bool).shuffle(0, buffer="9"), "a buffer of at least one element; found '9'"),
        (lambda d: d.prefetch(None), "at least one element and one thread; found buffer=None"),
        (lambda d: d.map(3), "map takes a function of an element; found 3"),
        (lambda d: d.map(lambda r, x: x, seed=-1), "map takes a seed, an int of at least 0"),
        (lambda d: d.filter(None), "filter takes a function of an element"),
        (lambda d: d.iterator({"index": 1.5}), "'index' counts, and is an int"),
        (lambda d: d.iterator(epoch=-1), "epoch counts the passes, from 0; found -1"),
        (lambda d: list(data.from_iterator(lambda: None)), "makes an iterable for every pass; found None"),
        (lambda d: data.random_flip(0, IMAGES), "a key of fx.random, or a Generator of NumPy's"),
        (lambda d: data.cutout(np.random.RandomState(0), IMAGES, 2), "a key of fx.random, or a Generator of NumPy's"),
    ],
)
def test_steps_and_sources_of_chance_of_other_libraries_are_told(call, says):
    with pytest.raises((TypeError, DataError)) as caught:
        call(data.from_arrays(np.arange(6.0)))
    assert says in str(caught.value)


def test_one_array_is_no_archive(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(DataError, match="data.from_memmap"):
        data.from_npz(tmp_path / "x.npy")
