"""The machine side: ``jit.compile(graph, options) -> Executable``.

``Graph -> FusionPlan -> LoopProgram -> kernels -> Executable``; every stage verifies itself and prints.
"""

from __future__ import annotations

from .cache import CacheStats, default_store
from .calls.eager import Eager
from .calls.result_pool import clear_pool
from .executable import Executable, Options
from .executable import compile_graph as compile
from .images import ImageInfo, image_info
from .load import forget
from .resize import Resizable
from .threads import num_threads, set_num_threads, using_threads

__all__ = [
    "CacheStats", "Eager", "Executable", "ImageInfo", "Options", "Resizable", "cache_info", "clear_cache", "compile",
    "image_info", "num_threads", "set_num_threads", "using_threads",
]  # fmt: skip


def cache_info() -> CacheStats:
    """What the kernel store has done in this process, and what lies on disk."""
    return default_store().stats()


def clear_cache() -> None:
    """Removes every stored kernel, from this process and from disk, and the memory kept for results."""
    default_store().clear()
    forget()
    clear_pool()
