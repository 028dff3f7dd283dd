"""Graph -> Graph transformations: jvp and linearize, transpose, vmap, and the rules of calls."""
