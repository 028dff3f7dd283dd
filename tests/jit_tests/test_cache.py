"""The kernel store: keys, damage, concurrent processes, kills, permissions, limits, a disk that fails."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from children import forked

from fx.errors import CacheError
from jit import cache, sources
from jit.cache import KernelStore, environment_digest, kernel_key
from jit.sources import sources_digest


def key_of(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.rglob("*") if p.is_file())


# ---------------------------------------------------------------------------------------------- keys


def test_key_depends_on_every_part() -> None:
    base = kernel_key("text", {"lanes": 8, "fast": False}, "env")
    assert base == kernel_key("text", {"fast": False, "lanes": 8}, "env")
    others = [
        kernel_key("text ", {"lanes": 8, "fast": False}, "env"),
        kernel_key("text", {"lanes": 4, "fast": False}, "env"),
        kernel_key("text", {"lanes": 8}, "env"),
        kernel_key("text", {"lanes": "8", "fast": False}, "env"),
        kernel_key("text", {"lanes": 8, "fast": False}, "env2"),
        kernel_key("xt", {"lanes": 8, "fast": False}, "envte"),
    ]
    assert len({base, *others}) == len(others) + 1


def test_environment_digest_depends_on_the_target_and_on_what_it_is_of() -> None:
    assert environment_digest("avx2") == environment_digest("avx2") != environment_digest("sse2")
    assert environment_digest("avx2", of_graphs=True) != environment_digest("avx2")


@pytest.mark.parametrize("kept", [False, True])
def test_the_digest_of_sources_follows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """Whatever changes, at once and without a change of times and sizes that somebody could set."""
    monkeypatch.setattr(sources, "SETTLED_NS", -1)
    store, folder = KernelStore(tmp_path / "c") if kept else None, tmp_path / "s"
    digest = lambda: sources_digest(str(folder), ("",), store)
    (folder / "sub").mkdir(parents=True)
    (folder / "a.py").write_text("x = 1\n")
    (folder / "sub" / "b.py").write_text("y = 2\n")
    first = digest()
    (folder / "notes.txt").write_text("not code")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "c.py").write_text("not ours")
    assert digest() == first == sources_digest(str(folder))
    times = (folder / "sub" / "b.py").stat()
    time.sleep(0.02)  # a tick of the file system's clock
    (folder / "sub" / "b.py").write_text("y = 3\n")
    os.utime(folder / "sub" / "b.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    second = digest()
    (folder / "sub" / "b.py").rename(folder / "sub" / "c.py")
    third = digest()
    assert sources_digest(str(folder), ("a.py",)) not in {first, second, third}
    assert len({first, second, third}) == 3 and digest() == third == sources_digest(str(folder))


def test_the_digest_of_sources_of_a_package_that_has_compiled_files_alone(tmp_path: Path) -> None:
    for name in ("a.pyc", "b.pyc"):
        (tmp_path / name).write_bytes(b"one")
    within = (("",), ("a.py",))
    first = [sources_digest(str(tmp_path), part) for part in within]
    (tmp_path / "a.pyc").write_bytes(b"two")
    assert all(sources_digest(str(tmp_path), part) != before for part, before in zip(within, first))


def test_the_digest_of_sources_in_an_archive_is_that_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """... be it a zip file on the module path, or the program itself."""
    (tmp_path / "beside" / "jit").mkdir(parents=True)
    (tmp_path / "beside" / "jit" / "data.txt").write_text("no module")
    for archive, folder in (("a.zip", "a.zip/jit"), ("app", "lib/jit"), ("app", "beside/jit")):
        monkeypatch.setattr(sys, "executable", str(tmp_path / "app"))
        digests = []
        for contents in (b"one", b"two"):
            (tmp_path / archive).write_bytes(contents)
            digests += [sources_digest(str(tmp_path / folder), within) for within in (("",), ("a.py", "b"))]
        assert digests[0] == digests[1] != digests[2] == digests[3]


def test_the_digest_of_sources_is_kept_when_they_have_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KernelStore(tmp_path / "c")
    (tmp_path / "a.py").write_text("x = 1\n")
    first = sources_digest(str(tmp_path), ("a.py",), store)
    assert store.stats().writes == 0  # a change within the same tick would not be seen
    monkeypatch.setattr(sources, "SETTLED_NS", -1)
    assert sources_digest(str(tmp_path), ("a.py",), store) == first and store.stats().writes == 1
    monkeypatch.setattr(sources, "_digest", lambda *_: b"not read again")
    assert sources_digest(str(tmp_path), ("a.py",), store) == first


@pytest.mark.parametrize("key", ["", "short", "../../etc/passwd", "A" * 64, "g" * 64, key_of(1) + "/x"])
def test_malformed_keys_are_refused(tmp_path: Path, key: str) -> None:
    store = KernelStore(tmp_path / "c")
    for use in (lambda: store.get(key), lambda: store.put(key, b"x")):
        with pytest.raises(CacheError, match="no cache key"):
            use()


# --------------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("data", [b"", b"x", b"object code" * 1000])
def test_what_was_put_is_found_by_this_and_by_other_stores(tmp_path: Path, data: bytes) -> None:
    store = KernelStore(tmp_path / "c")
    assert store.get(key_of(1)) is None
    store.put(key_of(1), data)
    other = KernelStore(tmp_path / "c")
    assert store.get(key_of(1)) == other.get(key_of(1)) == other.get(key_of(1)) == data
    mine, its = store.stats(), other.stats()
    assert (mine.memory_hits, mine.disk_hits, mine.misses, mine.writes) == (0, 1, 1, 1)
    assert (its.memory_hits, its.disk_hits, its.misses, its.writes) == (0, 2, 0, 0)
    assert its.entries == 1 and its.nbytes == files(tmp_path)[0].stat().st_size
    assert "1 entries" in str(its)


def test_what_is_read_is_not_counted(tmp_path: Path) -> None:
    for store in (KernelStore(None), KernelStore(tmp_path / "c")):
        store.put(key_of(1), b"x")
        before = store.stats()
        assert store.read(key_of(1)) == b"x" and store.read(key_of(2)) is None
        assert store.stats() == before


def test_memory_only(tmp_path: Path) -> None:
    store = KernelStore(None)
    store.put(key_of(1), b"x")
    assert store.get(key_of(1)) == b"x" and store.get(key_of(2)) is None
    assert store.stats().directory is None and files(tmp_path) == []
    store.clear()
    assert store.get(key_of(1)) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MEMORY_ENTRIES", 3)
    store = KernelStore(None)
    for n in range(5):
        store.put(key_of(n), b"x")
    assert [store.get(key_of(n)) is not None for n in range(5)] == [False, False, True, True, True]


def test_clear_removes_entries_and_nothing_else(tmp_path: Path) -> None:
    store = KernelStore(tmp_path / "c")
    for n in range(5):
        store.put(key_of(n), b"x")
    mine = tmp_path / "c" / "notes.txt"
    mine.write_text("mine")
    store.clear()
    assert files(tmp_path) == [mine] and store.stats().entries == 0
    assert store.get(key_of(1)) is None
    store.put(key_of(1), b"y")
    assert KernelStore(tmp_path / "c").get(key_of(1)) == b"y"


# --------------------------------------------------------------------------------------------- damage


def damages() -> dict[str, Callable[[bytes], bytes]]:
    def flip(at: int) -> Callable[[bytes], bytes]:
        return lambda b: b[:at] + bytes([b[at] ^ 0x10]) + b[at + 1 :]

    table: dict[str, Callable[[bytes], bytes]] = {f"flip {at}": flip(at) for at in (0, 4, 9, 20, 47, 48, 300, -2)}
    table.update({f"truncate {n}": lambda b, n=n: b[:n] for n in (0, 1, 47, 48, 200)})  # type: ignore[misc]
    table["append"] = lambda b: b + b"\0"
    table["zeros"] = lambda b: bytes(len(b))
    return table


@pytest.mark.parametrize("name", damages())
def test_damaged_entries_are_misses(tmp_path: Path, name: str) -> None:
    KernelStore(tmp_path / "c").put(key_of(1), os.urandom(1000))
    (path,) = files(tmp_path)
    path.write_bytes(damages()[name](path.read_bytes()))
    store = KernelStore(tmp_path / "c")
    assert store.get(key_of(1)) is None
    assert store.stats().corrupt == 1 and not path.exists()
    store.put(key_of(1), b"good")
    assert KernelStore(tmp_path / "c").get(key_of(1)) == b"good"


def test_an_entry_under_another_ones_name_is_a_miss(tmp_path: Path) -> None:
    """Folders of two machines put together by hand, a file system repaired."""
    store = KernelStore(tmp_path / "c")
    store.put(key_of(1), b"for this machine")
    store.put(key_of(2), b"for another one")
    one, two = (next(p for p in files(tmp_path) if p.stem == key_of(n)) for n in (1, 2))
    two.replace(one)
    assert KernelStore(tmp_path / "c").get(key_of(1)) is None and not one.exists()


# ------------------------------------------------------------------------------------------ processes


def payload(n: int, version: int) -> bytes:
    """Tells its key, so that a mixture of two writes would be seen."""
    return f"{n}:{version}:".encode() + bytes([version % 251]) * (20_000 + 1000 * n)


def is_payload(n: int, data: bytes) -> bool:
    number, version, body = data.split(b":", 2)
    return int(number) == n and data == payload(n, int(version))


def test_four_processes_write_and_read_the_same_keys(tmp_path: Path) -> None:
    def work() -> None:
        for version in range(15):
            store = KernelStore(tmp_path / "c")
            for n in range(8):
                found = store.get(key_of(n))
                assert found is None or is_payload(n, found)
                store.put(key_of(n), payload(n, version))
            assert store.stats().corrupt == 0

    children = [forked(work) for _ in range(4)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    store = KernelStore(tmp_path / "c")
    assert all(is_payload(n, store.get(key_of(n)) or b"") for n in range(8))
    assert len(files(tmp_path)) == 8


def test_processes_that_evict_at_once_do_no_harm(tmp_path: Path) -> None:
    def work() -> None:
        store = KernelStore(tmp_path / "c", limit_bytes=150_000)
        for version in range(10):
            for n in range(8):
                store.put(key_of(n), payload(n, version))

    children = [forked(work) for _ in range(4)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    store = KernelStore(tmp_path / "c", limit_bytes=150_000)
    store.put(key_of(100), b"x")
    assert store.stats().nbytes <= 150_000
    assert all(data is None or is_payload(n, data) for n, data in ((n, store.get(key_of(n))) for n in range(8)))


def test_a_kill_leaves_an_entry_whole_or_not_at_all(tmp_path: Path) -> None:
    def write_for_ever() -> None:
        store = KernelStore(tmp_path / "c")
        for version in range(1_000_000):
            store.put(key_of(version % 8), payload(version % 8, version))

    def begun() -> bool:
        return any(KernelStore(tmp_path / "c").get(key_of(n)) is not None for n in range(8))

    rng = random.Random(0)
    for kill in range(20):
        pid = forked(write_for_ever)
        for _ in range(20_000 if kill >= 10 else 0):  # a busy machine may not have run the child yet
            if begun():
                break
            time.sleep(0.001)
        time.sleep(rng.uniform(0.002, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        store = KernelStore(tmp_path / "c")
        found = [(n, store.get(key_of(n))) for n in range(8)]
        assert store.stats().corrupt == 0
        assert all(data is None or is_payload(n, data) for n, data in found)
    assert any(data is not None for _, data in found)


# ---------------------------------------------------------------------------------------- permissions


def test_directories_are_made_for_this_user_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        KernelStore(tmp_path / "fx" / "kernels").put(key_of(1), b"x")
    finally:
        os.umask(old)
    for path in (tmp_path / "fx").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((tmp_path / "fx").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702, 0o1777])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c").chmod(mode)
    with pytest.raises(CacheError, match="chmod go-w"):
        KernelStore(tmp_path / "c")


# owner and mode of the directory and of the folder above it -> what is wrong
OWNERS: dict[str, tuple[tuple[int, int], tuple[int, int], str | None]] = {
    "mine": ((1000, 0o700), (0, 0o755), None),
    "readable": ((1000, 0o755), (0, 0o755), None),
    "in /tmp": ((1000, 0o700), (0, 0o1777), None),
    "somebody's": ((1001, 0o700), (0, 0o755), "belongs to user 1001"),
    "root's": ((0, 0o755), (0, 0o755), "belongs to user 0"),
    "group-writable": ((1000, 0o775), (0, 0o755), "others can write"),
    "replaceable": ((1000, 0o700), (0, 0o777), "everybody can replace"),
}


@pytest.mark.parametrize("case", OWNERS)
def test_ownership(case: str) -> None:
    own, above, wrong = OWNERS[case]
    directory = Path("/home/me/cache")

    def fake_stat(path: Path) -> os.stat_result:
        user, mode = own if path == directory else above if path == directory.parent else (0, 0o755)
        return SimpleNamespace(st_uid=user, st_mode=stat.S_IFDIR | mode)  # type: ignore[return-value]

    def check() -> None:
        cache.refuse_if_exposed(directory, stat=fake_stat, effective_user=lambda: 1000)

    if wrong is None:
        check()
    else:
        with pytest.raises(CacheError, match=wrong):
            check()


def test_a_link_is_judged_by_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert KernelStore(tmp_path / "link").directory == (tmp_path / "real").resolve()
    (tmp_path / "real").chmod(0o777)
    with pytest.raises(CacheError, match="others can write"):
        KernelStore(tmp_path / "link")


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("")
    for place in (tmp_path / "c", tmp_path / "c" / "sub"):
        with pytest.raises(CacheError, match="cannot be made: Not a directory"):
            KernelStore(place)


def test_links_that_lead_round_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for place in (tmp_path / "a", tmp_path / "a" / "sub"):
        with pytest.raises(CacheError, match="cannot be made"):
            KernelStore(place)


def test_a_relative_directory_where_there_is_none_to_be_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(CacheError, match="the kernel cache here cannot be made"):
        KernelStore("here")


# ---------------------------------------------------------------------------------------------- limit


def test_eviction_keeps_the_store_under_its_limit(tmp_path: Path) -> None:
    store = KernelStore(tmp_path / "c", limit_bytes=50_000)
    for n in range(100):
        store.put(key_of(n), bytes(2000 + 37 * n))
        assert store.stats().nbytes <= 50_000
    assert store.stats().evicted >= 80 and store.stats().entries >= 5
    assert KernelStore(tmp_path / "c").get(key_of(99)) is not None


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    KernelStore(tmp_path / "c").put(key_of(0), bytes(10_000))
    for n in range(1, 4):
        KernelStore(tmp_path / "c").put(key_of(n), bytes(10_000))
    long_ago = time.time() - 10_000
    for age, path in enumerate(p for n in range(4) for p in files(tmp_path) if p.stem == key_of(n)):
        os.utime(path, (long_ago + age, long_ago + age))
    assert KernelStore(tmp_path / "c").get(key_of(0)) is not None  # now the last used
    store = KernelStore(tmp_path / "c", limit_bytes=40_000)
    store.put(key_of(4), bytes(10_000))
    fresh = KernelStore(tmp_path / "c")
    assert [fresh.get(key_of(n)) is not None for n in range(5)] == [True, False, False, True, True]


def test_a_use_after_the_clock_was_set_back_is_the_latest(tmp_path: Path) -> None:
    KernelStore(tmp_path / "c").put(key_of(1), b"x")
    (path,) = files(tmp_path)
    os.utime(path, (time.time() + 1e6,) * 2)
    assert KernelStore(tmp_path / "c").get(key_of(1)) == b"x"
    assert abs(path.stat().st_mtime - time.time()) < 1e3


def test_an_entry_larger_than_the_limit_stays_in_memory(tmp_path: Path) -> None:
    store = KernelStore(tmp_path / "c", limit_bytes=1000)
    store.put(key_of(1), bytes(2000))
    assert store.get(key_of(1)) == bytes(2000) and files(tmp_path) == []


def test_temporary_files_of_killed_processes_go(tmp_path: Path) -> None:
    store = KernelStore(tmp_path / "c")
    shard = tmp_path / "c" / key_of(1)[:2]
    shard.mkdir()
    for name, age in (("old", 7200), ("new", 10)):
        (shard / f".{name}.tmp").write_bytes(b"half")
        os.utime(shard / f".{name}.tmp", (time.time() - age,) * 2)
    store.put(key_of(1), b"x")
    assert [p.name for p in files(tmp_path)] == [".new.tmp", key_of(1) + ".fxk"]


# ------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("function", ["mkdir", "open", "replace"])
def test_a_disk_that_does_not_take_entries_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, function: str
) -> None:
    KernelStore(tmp_path / "c").put(key_of(1), b"old")
    store = KernelStore(tmp_path / "c")

    def fail(*args: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, fail)
    with pytest.warns(RuntimeWarning, match="cannot be written") as seen:
        store.put(key_of(2), b"new")
        store.put(key_of(3), b"newer")
    assert len(seen) == 1
    assert [store.get(key_of(n)) for n in (1, 2, 3)] == [b"old", b"new", b"newer"]
    assert [p.stem for p in files(tmp_path)] == [key_of(1)]


def test_a_directory_that_vanishes_is_not_made_again(tmp_path: Path) -> None:
    store = KernelStore(tmp_path / "c")
    (tmp_path / "c").rmdir()
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        store.put(key_of(1), b"x")
    assert store.get(key_of(1)) == b"x" and not (tmp_path / "c").exists()


# ------------------------------------------------------------------------------------------- defaults


@pytest.fixture
def fresh_default() -> object:
    cache.default_store.cache_clear()
    yield cache.default_store
    cache.default_store.cache_clear()


@pytest.mark.parametrize("text", ["", "off", "OFF"])
def test_the_default_store_can_be_switched_off(
    fresh_default: Callable[[], KernelStore], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("FX_CACHE_DIR", text)
    assert fresh_default().directory is None


def test_the_default_store_follows_the_environment(
    fresh_default: Callable[[], KernelStore], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FX_CACHE_DIR", str(tmp_path / "here"))
    monkeypatch.setenv("FX_CACHE_LIMIT", "3M")
    store = fresh_default()
    assert store is fresh_default()
    assert (store.directory, store.limit_bytes) == ((tmp_path / "here").resolve(), 3 << 20)


def test_a_refused_default_directory_is_warned_of_once(
    fresh_default: Callable[[], KernelStore], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c").chmod(0o777)
    monkeypatch.setenv("FX_CACHE_DIR", str(tmp_path / "c"))
    with pytest.warns(RuntimeWarning, match="chmod go-w") as seen:
        store = fresh_default()
        fresh_default()
    assert len(seen) == 1 and store.directory is None


@pytest.mark.parametrize("chosen", ["~nobody-of-this-name/kernels", None])
def test_a_home_that_is_not_known_is_warned_of(
    fresh_default: Callable[[], KernelStore], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: str | None
) -> None:
    """A container's user without an entry: a folder named ~ was made in the current one."""
    for name in ("HOME", "XDG_CACHE_HOME", "FX_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    if chosen is not None:
        monkeypatch.setenv("FX_CACHE_DIR", chosen)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(RuntimeWarning, match="home folder .* is not known: set FX_CACHE_DIR"):
        assert fresh_default().directory is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "limit"), [("", 512 << 20), ("1000", 1000), ("2k", 2048), ("1 GB", 1 << 30)])
def test_limits(monkeypatch: pytest.MonkeyPatch, text: str, limit: int) -> None:
    monkeypatch.setenv("FX_CACHE_LIMIT", text)
    assert cache.default_limit() == limit


def test_a_malformed_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_CACHE_LIMIT", "lots")
    with pytest.raises(CacheError, match="FX_CACHE_LIMIT='lots'"):
        cache.default_limit()


def test_platform_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FX_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    expected = {"linux": ".cache", "darwin": "Library/Caches", "win32": "Local"}
    for system, place in expected.items():
        monkeypatch.setattr(sys, "platform", system)
        assert cache.default_directory() == tmp_path / place / "fx" / "kernels"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.default_directory() == tmp_path / "xdg" / "fx" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.default_directory() == tmp_path / ".cache" / "fx" / "kernels"
