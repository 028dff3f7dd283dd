"""fx in the place of JAX: ``written_for_jax``, a package that imports jax and its private names, gives on fx what it gives on JAX.

All runs in processes of its own.  JAX's answers are recorded: ``pytest --update-golden`` asks it again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from recorded import answers

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, **environment: str) -> str:
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def found(*command: str, **environment: str) -> dict[str, np.ndarray]:
    """What the package computes, and the arguments that it sees."""
    printed = json.loads(run(*command, "one", "--two", **environment))
    assert printed["arguments"] == ["one", "--two"]

    def read(x: dict[str, Any]) -> np.ndarray:
        return np.array(x["values"], x["dtype"]).reshape(x["shape"])

    return {f"{name} {i}": read(x) for name, leaves in printed["found"].items() for i, x in enumerate(leaves)}


def test_a_package_written_for_jax_gives_what_it_gives_there(update_golden: bool) -> None:
    theirs = answers("jax_written_for_jax", update_golden, lambda: found("-m", "written_for_jax", JAX_ENABLE_X64="0"))
    ours = found("-m", "fx", "as-jax", "-m", "written_for_jax")
    assert list(ours) == list(theirs)
    for name, want in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (want.dtype, want.shape), name
        scale = np.max(np.abs(want), initial=0) if want.dtype.kind == "f" else 0
        np.testing.assert_allclose(ours[name], want, rtol=0, atol=2e-6 * scale, err_msg=name)


NAMES = """
import doctest, sys, types
import fx, fx.numpy, fx.as_jax
from fx.errors import StandInError, UnsupportedArgumentError

assert "jax" not in sys.modules and not fx.as_jax.is_installed()
assert doctest.testmod(fx.as_jax).attempted == 2 and doctest.testmod(fx.as_jax).failed == 0
assert "jax" not in sys.modules and not fx.as_jax.is_installed()
options = lambda: (fx.config.python_dtypes, fx.config.wide_dtypes, fx.config.in_place, fx.config.numpy_functions, fx.config.default_float.name)
before = options()

import jax  # a folder beside this program stands for JAX itself
assert jax.itself
try:
    fx.as_jax.install()
except StandInError as error:
    assert "jax itself is imported already" in str(error)
else:
    raise AssertionError("took the place of a module that is in use")
del sys.modules["jax"]
assert options() == before

jax = fx.as_jax.install()
assert fx.as_jax.install() is jax and options() == ("default", "default", "rebind", "numpy", "float32")
import jax.numpy as jnp, jax.scipy.stats.norm as norm, jaxlib
from jax import numpy, random as r, config
assert jnp is numpy is jax.numpy and jax._src.core.Tracer is jax.core.Tracer and r.key is fx.random.key
assert jax.Array is fx.Array and config is fx.config and norm.logpdf is fx.scipy.stats.norm.logpdf
config.update("jax_enable_x64", True)
assert jax.__fx__ is fx and jnp.__fx__ is fx.numpy and jax.__version__ == jaxlib.__version__ != fx.__version__
assert tuple(map(int, jax.__version__.split("."))) == jax.__version_info__
config.parse_flags_with_absl()
assert "sin" in dir(jnp) and "fx.numpy stands in for it" in repr(jnp)

def refused(kind, missing, program):
    try:
        exec(program, {"jax": jax})
    except kind as error:
        assert "fx stands in for jax here (fx.as_jax), and has no " + repr(missing) in str(error), error
    else:
        raise AssertionError(program)

refused(AttributeError, "jax.nothing", "jax.nothing")
refused(AttributeError, "jax.numpy.nothing", "jax.numpy.nothing")
refused(AttributeError, "jax._src.nothing", "jax._src.nothing")
refused(AttributeError, "jaxlib.nothing", "import jaxlib; jaxlib.nothing")
refused(ModuleNotFoundError, "jax.nothing", "import jax.nothing")
refused(ModuleNotFoundError, "jax.config", "from jax.config import config")
refused(ImportError, "jax.nothing", "from jax import nothing")
refused(ImportError, "jax.scipy.special.nothing", "from jax.scipy.special import nothing")
refused(ImportError, "jax._src.core.nothing", "from jax._src.core import nothing")
refused(ImportError, "jaxlib.xla_extension", "import jaxlib.xla_extension")
try:
    jax.new_ref(1.0)
except UnsupportedArgumentError as error:
    assert ".at[i].set" in str(error)
else:
    raise AssertionError("made what cannot be used")

with fx.as_jax.installed() as again:
    assert again is jax
assert fx.as_jax.is_installed()
fx.as_jax.uninstall()
assert options() == before and not [name for name in sys.modules if name.partition(".")[0] in ("jax", "jaxlib")]
assert jax.nn.relu is fx.nn.relu and jax._src.api_util  # who holds a module goes on with it
import jax
assert jax.itself
del sys.modules["jax"]

fx.as_jax.run(sys.argv[1], ["three"])
"""


def test_names_come_from_fx_what_is_missing_is_told_and_all_of_it_can_be_undone(tmp_path: Path) -> None:
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("itself = True\n")
    (tmp_path / "names.py").write_text(NAMES)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "beside.py").write_text("import jax\n")
    (tmp_path / "folder" / "program.py").write_text(
        "import sys, beside\nprint(__name__, beside.jax.__fx__.__name__, *sys.argv[1:])\n"
    )
    assert run(str(tmp_path / "names.py"), str(tmp_path / "folder" / "program.py")) == "__main__ fx three\n"
