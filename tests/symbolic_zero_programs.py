"""Programs whose derivative rules are told which inputs and outputs take part: for fx and for JAX alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

X, A, B, Y, ONE = np.float32([0.3, 0.7]), np.float32(0.4), np.float32(2.0), np.float32(1.5), np.float32(1.0)


def programs(lib: Any, fnp: Any, symbolic_zero: type, float0: Any, told: list[Any]) -> dict[str, Callable[[], Any]]:
    """The programs by name; ``told`` is filled with what their rules were given.

    Args:
        lib, fnp: ``fx`` and ``fx.numpy``, or ``jax`` and ``jax.numpy``.
    """

    @lib.custom_vjp
    def v(p: Any, y: Any, n: Any) -> Any:
        return {"s": fnp.sin(p["a"]) * y, "n": n * 2, "q": p["b"] * 3.0}

    def v_fwd(p: Any, y: Any, n: Any) -> Any:
        told.append(("fwd", p["a"].perturbed, p["b"].perturbed, y.perturbed, n.perturbed))
        values = {k: leaf.value for k, leaf in p.items()}
        return v(values, y.value, n.value), (values, y.value)

    def v_bwd(residuals: Any, ct: Any) -> Any:
        p, y = residuals
        zero = {k: type(c) is symbolic_zero for k, c in ct.items()}
        told.append(("bwd", *zero.values(), ct["s"].shape, str(ct["n"].dtype)))
        s = fnp.zeros_like(y) if zero["s"] else ct["s"]
        q = fnp.zeros_like(p["b"]) if zero["q"] else ct["q"]
        # ten times what it ought to be, so that it shows whose rule was used
        return {"a": s * fnp.cos(p["a"]) * y * 10, "b": q * 30}, s * fnp.sin(p["a"]) * 10, None

    v.defvjp(v_fwd, v_bwd, symbolic_zeros=True)

    @lib.custom_jvp
    def j(x: Any, y: Any, n: Any) -> Any:
        return x * y, fnp.cos(x), n + 1

    def j_rule(primals: Any, tangents: Any) -> Any:
        (x, y, n), (dx, dy, dn) = primals, tangents
        x_zero, y_zero = type(dx) is symbolic_zero, type(dy) is symbolic_zero
        told.append(("jvp", x_zero, y_zero, type(dn) is symbolic_zero, dx.shape, str(dn.dtype)))
        first = (
            fnp.zeros_like(x * y)
            if x_zero and y_zero
            else (0.0 if x_zero else 5 * dx * y) + (0.0 if y_zero else 7 * x * dy)
        )
        second = dx if x_zero else -9 * fnp.sin(x) * dx
        return j(x, y, n), (first, second, np.zeros(np.shape(n), float0))

    j.defjvp(j_rule, symbolic_zeros=True)

    def s(a: Any, y: Any = Y) -> Any:
        return v({"a": a, "b": B}, y, 3)["s"]

    def first(x: Any, y: Any = Y) -> Any:
        return j(x, y, 3)[0]

    def both(x: Any, y: Any = Y) -> Any:
        return j(x, y, 3)[:2]

    grad, jit, vmap, jvp = lib.grad, lib.jit, lib.vmap, lib.jvp
    return {
        "grad": lambda: grad(s)(A),
        "jit(grad)": lambda: jit(grad(s))(A),
        "grad(jit)": lambda: grad(jit(s))(A),
        "grad of another argument": lambda: grad(s, 1)(A, Y),
        "grad of another output": lambda: grad(lambda b: v({"a": A, "b": b}, Y, 3)["q"])(B),
        "grad that is zero": lambda: grad(lambda a: v({"a": a, "b": B}, Y, 3)["q"])(A),
        "grad of all": lambda: grad(lambda p, y: (lambda o: o["s"] + o["q"])(v(p, y, 3)), (0, 1))({"a": A, "b": B}, Y),
        "vmap(grad)": lambda: vmap(grad(s))(X),
        "grad(vmap)": lambda: grad(lambda x: fnp.sum(vmap(s)(x)))(X),
        "grad(vmap) unbatched": lambda: grad(lambda y: fnp.sum(vmap(lambda a: s(a, y))(X)))(Y),
        "jit(vmap(grad))": lambda: jit(vmap(grad(s)))(X),
        "grad(grad)": lambda: grad(grad(s))(A),
        "grad(scan)": lambda: grad(lambda a: lib.lax.scan(lambda c, y: (s(c, y), c), a, X)[0])(A),
        "jvp rule: grad": lambda: grad(first)(A),
        "jvp rule: grad of another output": lambda: grad(lambda x: j(x, Y, 3)[1])(A),
        "jvp rule: grad that is zero": lambda: grad(lambda y: j(A, y, 3)[1])(Y),
        "jvp rule: jvp": lambda: jvp(both, (A,), (ONE,)),
        "jvp rule: jvp of another argument": lambda: jvp(lambda y: both(A, y), (Y,), (ONE,)),
        "jvp rule: jit(jvp)": lambda: jit(lambda a: jvp(both, (a,), (ONE,)))(A),
        "jvp rule: vmap(jvp)": lambda: vmap(lambda a: jvp(both, (a,), (ONE,)))(X),
        "jvp rule: jvp(vmap)": lambda: jvp(lambda y: vmap(lambda x: both(x, y))(X), (Y,), (ONE,)),
        "jvp rule: grad(grad)": lambda: grad(lambda y: grad(first)(A, y))(Y),
        "jvp rule: hessian": lambda: lib.hessian(lambda x: first(x).sum())(X),
        "jvp rule: linearize": lambda: lib.linearize(first, A)[1](2 * ONE),
    }  # fmt: skip
