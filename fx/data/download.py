"""What an address gives, added to a file."""

from __future__ import annotations

import os
from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BufferedRandom
from urllib.request import Request, urlopen

__all__ = ["download"]

_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 16


def download(url: str, file: BufferedRandom) -> bool:
    """Adds to a file what it lacks of what an address gives; whether there was something of it before.

    Raises:
        OSError: no network, or a connection that broke; what came before stays in the file.
        ValueError: the address is none.
    """
    while True:
        before = done = os.fstat(file.fileno()).st_size
        request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:
                if done and getattr(answer, "status", None) != 206:  # the whole file
                    file.truncate(0)
                    done = 0
                while piece := answer.read(_PIECE):
                    file.write(piece)
                file.flush()
                left = answer.length if isinstance(answer, HTTPResponse) else 0
            if not left:
                return done > 0
            raise IncompleteRead(b"", left)
        except (OSError, HTTPException, ValueError) as e:
            file.flush()
            if getattr(e, "code", None) == 416:  # nothing is left of it
                return True
            if os.fstat(file.fileno()).st_size <= before:  # it comes to nothing: the next mirror, the next call
                if isinstance(e, HTTPException) and not isinstance(e, OSError):
                    raise OSError(str(e) or type(e).__name__) from e
                raise
