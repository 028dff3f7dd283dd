"""Who may import whom: read from the import statements themselves."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# rooms of fx from the ground up; a module may import from its own floor and from below
FLOORS: list[tuple[str, ...]] = [
    ("signatures", "version"),
    ("elsewhere", "errors", "misnamed"),
    ("dtypes", "silence", "sizes"),
    ("config",),
    ("traceback", "key_paths"),
    ("tree", "tree_nodes", "tree_static", "tree_text", "partial"),
    ("ir",),
    ("printing", "primitive", "array", "callsite", "nans", "filling"),
    ("trace",),
    ("mutable", "verify", "interpret", "interning", "replay", "written"),
    ("primitives",),
    ("storage", "passes"),
    ("transforms",),
    ("backend",),
    ("dispatch", "exact", "families", "plans"),
    ("staging",),
    ("api",),
    ("numpy",),
    (
        "lax",
        "random",
        "scipy",
        "debug",
        "dlpack",
        "tree_util",
        "typing",
        "platform",
        "contexts",
        "custom_derivatives",
        "custom_batching",
        "ad_checkpoint",
        "core",
        "profiler",
        "ref",
        "sharding",
        "stages",
    ),
    ("extend", "shard_mapping"),
    ("api_util", "export", "interpreters"),
    ("ops", "image", "flatten_util", "test_util", "autograd"),
    ("nn", "optim", "data"),
    ("example_libraries", "experimental"),
    ("as_jax",),
    ("train", "metrics", "io", "viz"),
    ("_frozen",),
    ("examples", "__main__"),
]
FLOOR = {name: i for i, names in enumerate(FLOORS) for name in names}


def imports(path: Path, package: str) -> list[tuple[str, bool, int]]:
    """(absolute module, is at the top level, line) for every import statement."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    here = parts[:-1]
    found: list[tuple[str, bool, int]] = []
    for node, top in _statements(ast.parse(path.read_text()), True):
        if isinstance(node, ast.Import):
            found += [(a.name, top, node.lineno) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module.split(".") if node.module else ())))
            bare = module in ("fx", "jit")
            names = [a.name for a in node.names] if bare else [None]
            found += [(f"{module}.{n}" if n else module, top, node.lineno) for n in names]
    return found


def _statements(node: ast.AST, top: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Every statement below ``node``, and whether it stands outside all functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):  # an expression holds no statement
            if isinstance(child, ast.stmt):
                yield child, top
            yield from _statements(child, top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_fx_imports_only_downwards() -> None:
    for path in sorted((ROOT / "fx").rglob("*.py")):
        check_floor(path)


def check_floor(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if path == ROOT / "fx" / "__init__.py":
        return_floor = len(FLOORS)
    else:
        assert own in FLOOR, f"the room {own!r} has no floor in this test: add it to FLOORS"
        return_floor = FLOOR[own]
    for module, _, line in imports(path, "fx"):
        if module.split(".")[0] == "jit":
            assert path.name == "backend.py", f"{path}:{line} imports jit; only fx/backend.py may"
        if module.split(".")[0] == "fx" and room(module) in FLOOR:
            assert FLOOR[room(module)] <= return_floor, f"{path}:{line} ({own}) imports {module}, which stands above it"


def test_jit_sees_only_graphs() -> None:
    seen = ("fx.ir", "fx.dtypes", "fx.errors", "fx.sizes", "fx.filling")
    for path in sorted((ROOT / "jit").rglob("*.py")):
        for module, _, line in imports(path, "jit"):
            assert module.split(".")[0] != "fx" or module in seen, f"{path}:{line} imports {module}"


def test_only_backend_imports_jit_and_lazily() -> None:
    found = [(m, top) for m, top, _ in imports(ROOT / "fx" / "backend.py", "fx") if m == "jit"]
    assert found == [("jit", False)]


def _loaded_after(statement: str, **environment: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        ).stdout.split()
    )


def test_import_fx_loads_no_compiler() -> None:
    loaded = _loaded_after("import fx, fx.numpy, fx.random, fx.nn")
    heavy = {"numba", "llvmlite", "jit", "scipy", "matplotlib", "jax", "torch", "multiprocessing", "asyncio"}
    assert not heavy & loaded


def test_compiling_loads_no_numba_by_default() -> None:
    loaded = _loaded_after("import fx, numpy as np\nfx.jit(lambda x: x + 1)(np.ones(3))")
    assert "llvmlite" in loaded and "numba" not in loaded


def test_programs_from_the_store_load_no_compiler(tmp_path: Path) -> None:
    call = "import fx, numpy as np\nfx.jit(fx.value_and_grad(lambda x: np.sum(np.tanh(x) * x)))(np.ones((3, 4)))"
    compiler = {"jit.compiler", "jit.lower", "jit.loop_ir", "jit.llvm.emit", "numba"}
    planned, found = (_loaded_after(call, FX_CACHE_DIR=str(tmp_path / "store")) for _ in range(2))
    assert compiler - planned == {"numba"}
    assert not compiler & found
    assert "llvmlite.binding" not in found or sys.platform != "linux"
