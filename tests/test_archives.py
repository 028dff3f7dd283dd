"""Programs that hold fx in an archive: a zip file on the module path, and what PyInstaller is told."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import fx
from fx import _frozen

ROOT = Path(fx.__file__).parents[1]
PROGRAM = """
import numpy as np, fx
assert ".zip" in fx.__file__
double = fx.jit(lambda x: x * 2)
assert double(np.float32([1, 2])).tolist() == [2, 4]
try:
    fx.jit(lambda x: 1 if x > 0 else 2)(1.0)
except fx.errors.ConcretizationError as e:
    assert "'gt' at <string>:7" in str(e), e
"""


def test_a_package_in_a_zip_file(tmp_path: Path) -> None:
    """Kernels are kept for it, and errors name the user's line."""
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for package in ("fx", "jit"):
            for file in sorted((ROOT / package).rglob("*.py*")):
                if file.suffix in (".py", ".pyi"):
                    z.write(file, file.relative_to(ROOT))
    environment = {**os.environ, "PYTHONPATH": str(archive), "FX_CACHE_DIR": str(tmp_path / "kernels")}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert list((tmp_path / "kernels").rglob("*"))


def test_what_a_frozen_program_takes_along() -> None:
    for name, packages in (("hook-fx", ("fx", "jit")), ("hook-jit", ("jit",))):
        (folder,) = _frozen.hook_folders()
        said = runpy.run_path(str(Path(folder) / f"{name}.py"))
        files = [f.relative_to(ROOT) for p in packages for f in (ROOT / p).rglob("*.py") if "-" not in f.name]
        modules = {".".join(f.with_suffix("").parts).removesuffix(".__init__") for f in files}
        assert set(said["hiddenimports"]) == modules and "jit.llvm.library" in modules
    data = {Path(folder, Path(file).name) for file, folder in _frozen.data_files("fx")}
    assert Path("fx/data/digits.npz") in data and all((ROOT / d).is_file() for d in data)
