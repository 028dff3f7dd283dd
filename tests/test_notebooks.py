"""Every notebook runs from top to bottom in a fresh kernel."""

from __future__ import annotations

import json
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    errors = [o for c in book.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"]
    assert not errors and any(c.outputs for c in book.cells if c.cell_type == "code")
    assert "ipykernel" not in json.dumps([c.get("outputs") for c in book.cells]), "cells have names: In[3]"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_holds_the_outputs_of_one_run(path: Path) -> None:
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == [*range(1, len(cells) + 1)]
    assert sum(bool(c.outputs) for c in cells) > len(cells) // 2
    assert str(path.parents[1]) not in path.read_text()


def test_there_is_a_first_notebook() -> None:
    assert "01_first_steps" in [p.stem for p in NOTEBOOKS]
