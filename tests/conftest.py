"""Shared by all tests: a private kernel cache, seeds, and the ``--update-golden`` flag."""

from __future__ import annotations

import os
import tempfile

import pytest

os.environ.setdefault("FX_CACHE_DIR", tempfile.mkdtemp(prefix="fx-test-cache-"))
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden texts under tests/golden")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
