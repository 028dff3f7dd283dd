"""A process that saves checkpoints until it is killed: run as a script, it forks a writer for every line it reads.

``python checkpoint_writer.py FOLDER atomic|careless``; a line on standard input starts a writer, whose process id is
printed. The parent kills the writer. ``careless`` writes in place: the fault that the test must catch.
"""

from __future__ import annotations

import itertools
import os
import sys

import numpy as np

from fx.io import save
from fx.io.safetensors import encode_header, laid_out


def values(step: int) -> dict[str, object]:
    return {"w": np.full(3000, step, np.float32), "layers": [np.full((4, 5), step), (step, None)]}


def careless(path: str, tree: dict[str, object]) -> None:
    placed = laid_out({"w": tree["w"]})
    with open(path, "wb") as file:
        for part in [encode_header({n: e for n, (e, _) in placed.items()}, {}), *[d for _, d in placed.values()]]:
            for i in range(0, len(part), 500):
                file.write(part[i : i + 500])
                file.flush()


def write_forever(folder: str, how: str) -> None:
    path = os.path.join(folder, "model.safetensors")
    for step in itertools.count():
        if how == "careless":
            careless(path, values(step))
        else:
            save(path, values(step), sync=step % 8 == 0)


def main(folder: str, how: str) -> None:
    child = 0
    for _ in sys.stdin:
        if child:
            os.waitpid(child, 0)
        child = os.fork()
        if not child:
            try:
                write_forever(folder, how)
            finally:
                os._exit(1)
        print(child, flush=True)
    if child:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
