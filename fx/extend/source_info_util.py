"""``fx.extend.source_info_util``: which files' frames are left out of the tracebacks of errors."""

from __future__ import annotations

from ..traceback import register_exclusion

__all__ = ["register_exclusion"]
