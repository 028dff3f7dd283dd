"""The public names of JAX beside ours: what is there, what is not, and why.  ``python tests/surface.py`` lists them.

A namespace is one entry of ``NAMESPACES``; ``absent`` gives the reason for each name that is not here, and is held
true by ``tests/fx_tests/test_surface.py``, as is that at least 97 % of the names that count are there.  The tables serve
JAX 0.10 and those after it: ``NEWER`` has the names that came later, ``test_newer_jax.py`` their tests.
"""

from __future__ import annotations

import importlib
import types
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Namespace:
    """A module of JAX's and ours.

    Args:
        outside: names that have no meaning here, with the reason: they do not count.
        absent: names that could be here and are not, with the reason.
    """

    theirs: str
    ours: str
    outside: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Their public names, modules that they happen to import aside."""
        module = importlib.import_module(self.theirs)
        declared = set(getattr(module, "__all__", ()))
        return [
            n
            for n in sorted(declared or dir(module))
            if n in declared or _is_public(n, getattr(module, n), self.theirs)
        ]

    def present(self) -> list[str]:
        ours = importlib.import_module(self.ours)
        return [n for n in self.names() if hasattr(ours, n)]

    def missing(self) -> list[str]:
        """Names that count, and are not here."""
        ours = importlib.import_module(self.ours)
        return [n for n in self.names() if not hasattr(ours, n) and n not in self.outside]

    def share(self) -> float:
        """The part of the names that count which is here."""
        here, gone = len(self.present()), len(self.missing())
        return here / max(here + gone, 1)


_ON_DEMAND = {"jax.extend"}  # there only once somebody has imported it


def _is_public(name: str, value: Any, module: str) -> bool:
    if name.startswith("_") or name == "annotations" or f"{module}.{name}" in _ON_DEMAND:
        return False
    return not isinstance(value, types.ModuleType) or value.__name__ == f"{module}.{name}"


_NO_DTYPE = "a dtype that fx does not compute with"
_FOREIGN_DTYPES = (
    "float4_e2m1fn float6_e2m3fn float6_e3m2fn float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2"
    " float8_e5m2fnuz float8_e8m0fnu int1 int2 int4 uint1 uint2 uint4"
).split()

_ONE_DEVICE = "spreads work over devices, of which there is one"
_SHARDING = (
    "Shard auto_pcast distributed remove_size_one_mesh_axis_from_type host_count host_id host_ids memory"
).split()
_MACHINERY = (
    "ad ffi jax2tf_associative_scan_reductions lib make_user_context monitoring"
    " no_execution no_tracing thread_guard array_garbage_collection_guard"
).split()
_PRIMITIVES = (
    "approx_top_k_p bessel_i0e_p bessel_i1e_p eq_to_p igamma_grad_a_p igamma_p igammac_p le_to_p lt_to_p mulhi_p polygamma_p reduce_p"
    " one_minus_square_p polynomial_p reduce_precision_p reduce_window_p reduce_xor_p regularized_incomplete_beta_p rng_bit_generator_p rng_uniform_p scatter_sub_p"
    " select_and_gather_add_p select_and_scatter_add_p select_and_scatter_p split_p stack_p tile_p unstack_p zeta_p"
).split()

NAMESPACES = {
    "": Namespace(
        "jax", "fx",
        outside={
            **dict.fromkeys(_SHARDING, _ONE_DEVICE),
            "ds": "a slice of a ref whose start is traced: an index here",
            **dict.fromkeys("CompilerEffortLevel Inline".split(), "an instruction to XLA"),
            **dict.fromkeys(_MACHINERY, "XLA's and JAX's own machinery, which is not here"),
        },
    ),
    "lax": Namespace(
        "jax.lax", "fx.lax",
        outside={
            **dict.fromkeys(_PRIMITIVES, "JAX's object for an operation: here its function is made of others"),
            **dict.fromkeys(
                "all_to_all_p device_put_p ppermute_p precv psend psum_scatter_start ragged_all_to_all ragged_all_to_all_p sharding_constraint_p".split(), _ONE_DEVICE,
            ),
            **dict.fromkeys(
                "AccuracyMode Tolerance DotAlgorithm DotAlgorithmPreset after_all after_all_p create_token create_token_p dce_sink"
                " dce_sink_p stage stage_p".split(), "an instruction to XLA",
            ),
        },
        absent={
            "rng_uniform": "has hidden state: fx.random takes keys",
        },
    ),
    "random": Namespace("jax.random", "fx.random", outside={"random_gamma_p": "JAX's object for an operation: here its function is made of others"}),
    "nn": Namespace(
        "jax.nn", "fx.nn",
        outside=dict.fromkeys("get_scaled_dot_general_config scaled_dot_general".split(), "quantises to floats of 8 bits, with which fx does not compute"),
    ),
    "nn.initializers": Namespace("jax.nn.initializers", "fx.nn.initializers"),
    "tree_util": Namespace("jax.tree_util", "fx.tree_util"),
    "ref": Namespace("jax.ref", "fx.ref", outside={"AbstractRef": "JAX's type of a ref: the type of what it holds, ref.aval, here"}),
    "export": Namespace(
        "jax.export", "fx.export",
        outside={
            **dict.fromkeys("SymbolicScope is_symbolic_dim symbolic_args_specs symbolic_dim_bounds symbolic_shape".split(), "what is exported has plain numbers for sizes"),
            "DisabledSafetyCheck": "names checks of XLA's calls",
        },
    ),
    "debug": Namespace(
        "jax.debug", "fx.debug",
        outside={
            **dict.fromkeys("inspect_array_sharding visualize_array_sharding visualize_sharding".split(), _ONE_DEVICE),
            **dict.fromkeys("DebugEffect OrderedDebugEffect".split(), "JAX's own machinery: an effect is a flag of an equation here"),
        },
    ),
    "numpy": Namespace("jax.numpy", "fx.numpy", outside=dict.fromkeys(_FOREIGN_DTYPES, _NO_DTYPE)),
    **{
        name: Namespace(f"jax.{name}", f"fx.{name}")
        for name in (
            "numpy.linalg numpy.fft scipy.cluster.vq scipy.fft scipy.integrate scipy.interpolate scipy.linalg scipy.ndimage scipy.optimize"
            " scipy.signal scipy.sparse.linalg scipy.spatial.transform scipy.special scipy.stats tree image ops"
        ).split()
    },
}  # fmt: skip


NEWER: dict[str, set[str]] = {
    "": {"get_abstract_mesh", "get_mesh", "use_abstract_mesh"},
    "lax": {"log2", "log2_p", "one_minus_square", "polynomial"},
    "numpy": {"minmax", "top_k"},
    "random": {"Key"},
    "scipy.special": {"erfcinv"},
}
"""Names that JAX 0.10, of which answers are recorded, does not have, and we have."""


def listing(spaces: dict[str, Namespace] = NAMESPACES) -> str:
    """The table that the script prints."""
    lines: list[str] = []
    for space in spaces.values():
        here, gone = space.present(), space.missing()
        lines += [
            f"{space.ours}: {len(here)} of {len(here) + len(gone)} names of {space.theirs} ({100 * space.share():.1f} %)"
        ]
        lines += [f"    absent   {n}: {space.absent.get(n, 'no reason is given')}" for n in gone]
        reasons: dict[str, list[str]] = {}
        for name, why in space.outside.items():
            reasons.setdefault(why, []).append(name)
        lines += [f"    outside  {' '.join(names)}: {why}" for why, names in reasons.items()]
        lines += [f"    present  {' '.join(here)}"]
    return "\n".join(lines)


if __name__ == "__main__":
    print(listing())
