"""``fx.experimental``: Taylor mode (``jet``), ordinary differential equations (``ode``), run-time checks (``checkify``), callbacks
with results and effects (``io_callback``), and the modules that JAX has for programs on several devices."""

from __future__ import annotations

from ..contexts import enable_x64
from ..primitives.callbacks import io_callback

__all__ = ["enable_x64", "io_callback"]
