"""The machine side: ``jit.compile(graph, options) -> Executable``.

``Graph -> FusionPlan -> LoopProgram -> kernels -> Executable``; every stage verifies itself and prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fx.ir import Graph
from fx.sizes import Sizes

from .cache import CacheStats, default_store
from .calls.eager import Eager
from .calls.result_pool import clear_pool
from .executable import Executable, Options
from .executable import compile_graph as compile
from .images import ImageInfo, image_info
from .load import forget
from .on_demand import resizing
from .threads import num_threads, set_num_threads, using_threads

if TYPE_CHECKING:
    from .resize import Resizable

__all__ = [
    "CacheStats", "Eager", "Executable", "ImageInfo", "Options", "cache_info", "clear_cache", "compile",
    "image_info", "num_threads", "resizable", "set_num_threads", "using_threads",
]  # fmt: skip


def resizable(graph: Graph, sizes: Sizes, options: Options | None = None) -> Resizable:
    """The program of a graph whose shapes hold sizes of ``sizes``; ``at`` fills them in."""
    return resizing().Resizable(graph, sizes, options)  # type: ignore[no-any-return]


def cache_info() -> CacheStats:
    """What the kernel store has done in this process, and what lies on disk."""
    return default_store().stats()


def clear_cache() -> None:
    """Removes every stored kernel, from this process and from disk, and the memory kept for results."""
    default_store().clear()
    forget()
    clear_pool()
