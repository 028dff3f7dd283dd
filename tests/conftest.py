"""Shared by all tests: a private kernel cache, seeds, the ``--update-golden`` flag, and which engine compiles.

The laws hold for what the engine ``llvm`` makes of the kernels: that is what ``jit_tests`` compile, and what they show to
be equal to ``quick``, which the rest of the tests use because it compiles in a fraction of the time.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator

import pytest
from thorough import THOROUGH, TURN

os.environ.setdefault("FX_CACHE_DIR", tempfile.mkdtemp(prefix="fx-test-cache-"))
os.environ.setdefault("FX_ENGINE", "quick")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # its values count, and most of its time is compilation
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of NumPy's products and of PyTorch, which spin while they wait: a
# worker of the test run has one core
gc.disable()  # until everything is imported and collected: all of that stays


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden texts under tests/golden")


def pytest_report_header() -> str:
    return (
        "FX_TEST_THOROUGH=1"
        if THOROUGH
        else f"FX_TEST_TURN={TURN}: which part of the cases is drawn; FX_TEST_THOROUGH=1 draws all"
    )


def pytest_collection_finish() -> None:
    """From here on the garbage collector looks at what the tests make, and at nothing else."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True)
def _planned_where_patched(request: pytest.FixtureRequest) -> Iterator[None]:
    """The store knows programs by the sources that plan them: a test that patches those plans its programs itself."""
    if "monkeypatch" not in request.fixturenames:
        yield
        return
    from jit.images import without_images  # the first test that compiles loads the compiler, not every run

    with without_images():
        yield
