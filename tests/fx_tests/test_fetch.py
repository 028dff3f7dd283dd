"""Data sets that are downloaded: from a server on this machine, which breaks off, lies, and is not there."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import importlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fx import data
from fx.errors import CorruptFileError, DataError, MissingDataError

NOWHERE = "http://127.0.0.1:9/nothing"  # the port of the discard service, at which nobody listens


def idx(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def mnist_files():
    rng = np.random.RandomState(0)
    found = {}
    for name, n in (("train", 300), ("t10k", 50)):
        found[f"{name}-images-idx3-ubyte.gz"] = gzip.compress(idx(rng.randint(0, 256, (n, 28, 28))), mtime=0)
        found[f"{name}-labels-idx1-ubyte.gz"] = gzip.compress(idx(rng.randint(0, 10, n)), mtime=0)
    return found


FILES = mnist_files()
FIRST = "train-images-idx3-ubyte.gz"


class Server(http.server.ThreadingHTTPServer):
    """Serves ``FILES``; ``cut``: bytes after which it hangs up; ``ranges``: whether it can begin in the middle."""

    cut, ranges, body, status, pause, daemon_threads = 0, True, None, 0, 0.0, True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}/mirror"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server, name = self.server, self.path.rpartition("/")[2]
        wanted = self.headers.get("Range")
        server.asked.append((self.path, wanted))
        if server.status or name not in FILES:
            return self.send_error(server.status or 404)
        body = FILES[name] if server.body is None else server.body
        start = int(wanted[len("bytes=") : -1]) if wanted and server.ranges else 0
        if start and start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        for at in range(start, len(body), 1 << 14):
            end = min(at + (1 << 14), len(body))
            if server.cut and end - start > server.cut:
                self.wfile.write(body[at : start + server.cut])
                self.close_connection = True
                return None
            self.wfile.write(body[at:end])
            time.sleep(server.pause)
        return None


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(importlib.import_module("fx.data.mnist"), "_REMOTE", tuple(remote()))
    for name in ("FX_DATA_DIR", "FX_DATA_MIRROR", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = Server()
    yield found
    found.shutdown()
    found.server_close()


def remote(mirrors=(NOWHERE,)):
    return [data.RemoteFile(name, hashlib.sha256(b).hexdigest(), tuple(mirrors)) for name, b in FILES.items()]


def whole(place):
    return sorted(p.name for p in Path(place).iterdir()) == sorted(FILES)


def test_all_of_mnist_comes_from_a_mirror_once(server, tmp_path, monkeypatch):
    train, test = data.mnist(full=True, folder=tmp_path / "a", mirror=server.url)
    assert train.images.shape == (300, 28, 28, 1) and test.labels.shape == (50,) and whole(tmp_path / "a")
    assert len(server.asked) == 4
    data.mnist(full=True, folder=tmp_path / "a")
    assert len(server.asked) == 4
    monkeypatch.setenv("FX_DATA_MIRROR", server.url)
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path / "b"))
    data.mnist(full=True)
    assert server.asked[-1][0] == f"/mirror/mnist/{list(FILES)[-1]}" and whole(tmp_path / "b" / "mnist")


def test_a_data_set_of_ones_own(server, tmp_path):
    paths = data.fetched("mine", remote([NOWHERE, server.url]), tmp_path)
    image, label = next(iter(data.from_idx(*paths[:2])))
    assert image.shape == (28, 28) and label.shape == () and whole(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on(server, tmp_path, ranges):
    server.cut, server.ranges = 70_000, ranges
    size = len(FILES[FIRST])
    if ranges:
        data.mnist(full=True, folder=tmp_path, mirror=server.url)
        asked = [at for path, at in server.asked if path.endswith(FIRST)]
        assert asked == [None, *[f"bytes={n}-" for n in range(70_000, size, 70_000)]]
    else:  # it begins at the beginning each time, and gets no further
        with pytest.raises(MissingDataError, match=f"IncompleteRead.*, {size - 70_000} more expected"):
            data.mnist(full=True, folder=tmp_path, mirror=server.url)
        assert os.path.getsize(tmp_path / f".{FIRST}.part") == 70_000
        server.cut = 0
        data.mnist(full=True, folder=tmp_path, mirror=server.url)
    assert whole(tmp_path)


def test_the_next_mirror_goes_on_where_one_broke_off(server, tmp_path):
    other = Server()
    server.cut, server.status = 70_000, 0
    first = [f._replace(mirrors=(server.url, other.url)) for f in remote()]
    server.ranges = False
    data.fetched("mine", first, tmp_path)
    assert (f"/mirror/{FIRST}", "bytes=70000-") in other.asked and whole(tmp_path)
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize("left", [b"something else" * 99, FILES[FIRST], FILES[FIRST] + b"more", b""])
def test_what_an_earlier_download_left_is_checked(server, tmp_path, left):
    (tmp_path / f".{FIRST}.part").write_bytes(left)
    assert data.mnist(full=True, folder=tmp_path, mirror=server.url).train.images.shape[0] == 300
    assert whole(tmp_path)


def test_other_bytes_are_not_kept(server, tmp_path):
    server.body = b"<html>please log in</html>"
    with pytest.raises(CorruptFileError, match=r"gives 26 bytes whose SHA-256 is .*what a proxy says in its place"):
        data.mnist(full=True, folder=tmp_path, mirror=server.url)
    assert not (tmp_path / FIRST).exists()
    server.body = None
    data.mnist(full=True, folder=tmp_path, mirror=server.url)
    assert whole(tmp_path)


@pytest.mark.parametrize(
    ("mirror", "status", "says"),
    [
        (None, 503, "HTTP Error 503"),
        (None, 404, "HTTP Error 404"),
        (NOWHERE, 0, "refused"),
        ("nonsense", 0, "unknown url type: 'nonsense"),
    ],
)
def test_without_the_files_it_is_said_what_to_do(server, tmp_path, mirror, status, says):
    server.status = status
    with pytest.raises(MissingDataError) as caught:
        data.mnist(full=True, folder=tmp_path / "place", mirror=mirror or server.url)
    for part in (says, str(tmp_path / "place"), *FILES, "mirror=..., or FX_DATA_MIRROR", "folder=..., or FX_DATA_DIR"):
        assert part in str(caught.value)


def test_files_that_are_not_mnist_s_are_named(server, tmp_path):
    for name, content in FILES.items():
        (tmp_path / name.removesuffix(".gz")).write_bytes(gzip.decompress(content))
    data.mnist(full=True, folder=tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(7)))
    with pytest.raises(DataError, match=r"images \(50, 28, 28\), labels \(7,\) up to 6"):
        data.mnist(full=True, folder=tmp_path)
    assert not server.asked


def program(server, place):
    """A process that downloads."""
    files = [(f.name, f.sha256, (server.url,)) for f in remote()]
    code = f"from fx import data; data.fetched('mine', [data.RemoteFile(*f) for f in {files!r}], {str(place)!r})"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def test_killed_in_the_middle_it_goes_on_there(server, tmp_path):
    server.pause = 0.1
    process, part = program(server, tmp_path), tmp_path / f".{FIRST}.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = part.stat().st_size
    server.pause = 0.0
    server.asked.clear()
    data.fetched("mine", remote([server.url]), tmp_path)
    assert 0 < kept < len(FILES[FIRST]) and server.asked[0][1] == f"bytes={kept}-" and whole(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="there each fetches for itself")
def test_of_several_processes_one_fetches_and_the_others_wait(server, tmp_path):
    server.pause = 0.05
    assert [p.wait() for p in [program(server, tmp_path) for _ in range(3)]] == [0, 0, 0]
    assert len(server.asked) == len(FILES) and whole(tmp_path)
