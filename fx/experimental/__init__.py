"""``fx.experimental``: Taylor mode (``jet``), ordinary differential equations (``ode``), run-time checks (``checkify``)."""

from __future__ import annotations
