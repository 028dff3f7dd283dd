"""``fx.lax.linalg``: matrix factorisations and solves, under the names of ``jax.lax.linalg``.

All act on the last two dimensions, over any batch in front, in float32, float64, complex64 and complex128.  Compiled, they
are calls of LAPACK from native code.
"""

from __future__ import annotations

from ..primitives.decompositions import (
    cholesky,
    cholesky_p,
    geqrf,
    geqrf_p,
    householder_product,
    lu,
    lu_p,
    lu_pivots_to_permutation,
    lu_pivots_to_permutation_p,
    lu_solve,
    qr,
    qr_p,
)  # fmt: skip
from ..primitives.solves import (
    triangular_solve,
    triangular_solve_p,
    triangular_sylvester,
    triangular_sylvester_p,
    tridiagonal_solve,
    tridiagonal_solve_p,
)  # fmt: skip
from ..primitives.spectral import eig_p, eigh_p, hessenberg, hessenberg_p, schur_p, svd_p
from ..traceback import hide_frames
from .linalg_composed import (
    EighImplementation,
    EigImplementation,
    SvdAlgorithm,
    cholesky_update,
    eig,
    eigh,
    ormqr,
    schur,
    svd,
    symmetric_product,
    tridiagonal,
)  # fmt: skip

__all__ = [
    "EigImplementation", "EighImplementation", "SvdAlgorithm", "cholesky", "cholesky_p", "cholesky_update", "eig", "eig_p",
    "eigh", "eigh_p", "geqrf", "geqrf_p", "hessenberg", "hessenberg_p", "householder_product", "lu", "lu_p",
    "lu_pivots_to_permutation", "lu_pivots_to_permutation_p", "lu_solve", "ormqr", "qr", "qr_p", "schur", "schur_p", "svd",
    "svd_p", "symmetric_product", "triangular_solve", "triangular_solve_p", "triangular_sylvester",
    "triangular_sylvester_p", "tridiagonal", "tridiagonal_solve", "tridiagonal_solve_p",
]  # fmt: skip


hide_frames(globals())
