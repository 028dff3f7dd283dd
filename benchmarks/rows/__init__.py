"""The rows of the table, one file for each family of work."""

from __future__ import annotations

from . import convolutions, elementwise, indexing, loops, overheads, products, reductions, steps, windows

FAMILIES = {
    "elementwise": elementwise.ROWS,
    "reductions": reductions.ROWS,
    "products": products.ROWS,
    "convolutions": convolutions.ROWS,
    "windows": windows.ROWS,
    "indexing": indexing.ROWS,
    "loops": loops.ROWS,
    "overheads": overheads.ROWS,
    "steps": steps.ROWS,
    "starts": steps.STARTS,
    "memory": steps.MEMORY,
}
