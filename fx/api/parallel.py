"""``pmap``, for programs that spread a batch over devices: here there is one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ..signatures import wraps
from ..staging import jit
from .mapping import vmap

__all__ = ["pmap"]


def pmap(
    fun: Callable[..., Any], axis_name: Hashable | None = None, *, in_axes: Any = 0, out_axes: Any = 0,
    static_broadcasted_argnums: int | Sequence[int] = (), devices: Any = None, backend: Any = None,
    axis_size: int | None = None, donate_argnums: int | Sequence[int] = (),
) -> Callable[..., Any]:  # fmt: skip
    """``jit(vmap(fun))``: the parts that JAX would give to several devices are computed together on the one there is.

    Args:
        axis_name, in_axes, out_axes, axis_size: as for ``vmap``; the mapped axis may have any size.
        static_broadcasted_argnums, donate_argnums: as ``static_argnums`` and ``donate_argnums`` of ``jit``.
        devices, backend: ignored.

    >>> import fx, numpy as np
    >>> fx.pmap(lambda x: x / fx.lax.psum(x, "i"), axis_name="i")(np.array([1.0, 3.0]))
    Array([0.25, 0.75], dtype=float64)
    """
    static = (
        (static_broadcasted_argnums,) if isinstance(static_broadcasted_argnums, int) else static_broadcasted_argnums
    )

    @wraps(fun)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        fixed = {i % len(args): args[i] for i in static}

        def call(*rest: Any, **kw: Any) -> Any:
            given = iter(rest)
            return fun(*[fixed[i] if i in fixed else next(given) for i in range(len(args))], **kw)

        mapped_args = [i for i in range(len(args)) if i not in fixed]
        axes = tuple([in_axes[i] for i in mapped_args]) if isinstance(in_axes, (tuple, list)) else in_axes
        batched = vmap(wraps(fun)(call) if not fixed else call, axes, out_axes, axis_name, axis_size)
        return batched(*[args[i] for i in mapped_args], **kwargs)

    return jit(mapped, static_argnums=tuple(static), donate_argnums=donate_argnums)  # type: ignore[no-any-return]
