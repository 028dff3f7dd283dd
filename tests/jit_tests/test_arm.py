"""The kernels of ARM64 compute what those of this machine do: their code runs in an emulator, see ``emulated_arm``."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pointwise_native
import pytest
from emulated_arm import Emulator
from graph_harness import agree
from laws import check_jit
from machines import arm
from op_specs import SPECS, Spec
from pointwise_native import NativeRules
from test_every_kernel import CASES, FAMILIES, executable
from test_vector_math import UNARY, sample
from thorough import part

import fx
import jit
from fx.primitive import Primitive
from fx.primitives import callbacks, collectives
from jit import executable as executables
from jit import load
from jit.kernels import vector_math as vm
from jit.llvm.objects import load_object
from jit.target import host as machine

unicorn = pytest.importorskip("unicorn", reason="unicorn runs the code of ARM64")


loaded = functools.cache(Emulator)  # one for the process, as are the addresses of kernels


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Programs of this process are compiled for ARM64, and their kernels run in the emulator."""
    here = loaded()
    monkeypatch.setattr(load, "load_objects", here.load)
    monkeypatch.setattr(pointwise_native, "load_object", lambda data, names: here.load([(data, names)])[0])
    monkeypatch.setattr(executables, "host", arm)
    before = here.calls
    with jit.using_threads(1):  # workers would wait for the interpreter's lock, which the program holds
        yield here
    here.check()
    assert here.calls > before


@pytest.mark.parametrize(("name", "k"), CASES)
def test_families(name: str, k: int, emulator: Emulator) -> None:
    for n in (19 + k, 2):
        arrays = FAMILIES[name].draw(n)
        run, given = executable(name, arrays, verify=True)
        found = run(*given)
        for j, (got, want) in enumerate(zip(found, FAMILIES[name].reference(arrays), strict=True)):
            agree(got, want, f"result {j} of {name} at {n} on ARM64", FAMILIES[name].scale)


ELSEWHERE = {
    p.name for m in (callbacks, collectives) for p in vars(m).values() if isinstance(p, Primitive)
}  # in Python, or by what stands for them
COMPUTED = [s for s in SPECS.values() if s.cases[0].operands and s.primitive not in ELSEWHERE]


@pytest.mark.parametrize("spec", part(COMPUTED, 0, 4), ids=lambda s: s.primitive)
def test_primitives(spec: Spec, emulator: Emulator) -> None:
    for case, dtype in part(list(spec.pairs()), 0, 4)[:6]:
        check_jit(spec, case, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_have_the_bits_of_x86(dtype: str, emulator: Emulator) -> None:
    """... with AVX2: the same formulas, as both have a fused multiply-add."""
    if "+fma" not in machine().features or "+avx2" not in machine().features:
        pytest.skip("needs AVX2")
    d = np.dtype(dtype)
    rules = {name: (getattr(vm, name), (d,)) for name in UNARY}
    ours = NativeRules(rules, arm())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pointwise_native, "load_object", load_object)
        theirs = NativeRules(rules, machine().restricted("avx2"))
    for name in UNARY:
        x = sample(name, dtype, 300)
        np.testing.assert_array_equal(ours.run(name, x), theirs.run(name, x), err_msg=name)


def test_wrong_code_is_noticed(emulator: Emulator) -> None:
    """A planted fault: code that reads where this process has no memory raises, and does not crash it."""
    with fx.config.using(engine="llvm"):
        run, given = executable("maps", FAMILIES["maps"].draw(8))
    (address,) = {*emulator.functions} & {*run._addresses}
    frame = np.array([1 << 40] * 8, np.int64)
    emulator.functions[address](frame.ctypes.data, 0, 8, 0)
    with pytest.raises(unicorn.UcError, match="[Rr]ead"):
        emulator.check()
    run(*given)
