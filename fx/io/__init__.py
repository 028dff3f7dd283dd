"""``fx.io``: pytrees in files that are whole, checked, and safe to open.

``save`` and ``load`` any pytree (models, optimizer states, keys, step counts); ``CheckpointManager`` keeps a folder of
them; ``load_partial`` transfers what fits; ``load_torch`` takes PyTorch's weights. The files are safetensors.

>>> import tempfile
>>> import numpy as np
>>> from fx import io
>>> with tempfile.TemporaryDirectory() as folder:
...     io.save(f"{folder}/model.safetensors", {"layers": [np.eye(2), np.ones(2)], "step": 3})
...     io.load(f"{folder}/model.safetensors")["step"]
3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..misnamed import no_attribute
from .manager import CheckpointManager
from .pytorch import from_torch_layout, load_torch, torch_state_dict
from .safetensors import SafetensorsHeader, read_safetensors, read_safetensors_header, write_safetensors
from .saving import LoadReport, load, load_partial, read_metadata, save

__all__ = [
    "CheckpointManager", "LoadReport", "SafetensorsHeader", "from_torch_layout", "load", "load_partial", "load_torch",
    "read_metadata", "read_safetensors", "read_safetensors_header", "save", "torch_state_dict", "write_safetensors",
]  # fmt: skip

_ELSEWHERE = {
    "ModelCheckpoint": "train.Checkpoint(folder) is the callback; io.CheckpointManager(folder) keeps a folder of checkpoints.",
    "load_checkpoint": "load", "load_file": "read_safetensors", "load_model": "load", "load_state_dict": "load_torch", "load_weights": "load_partial",
    "pickle": "There is no pickle: io.save(path, tree) writes safetensors.", "safe_open": "read_safetensors", "save_checkpoint": "save", "save_file": "write_safetensors",
    "save_model": "save", "state_dict": "torch_state_dict",
}  # fmt: skip

if not TYPE_CHECKING:  # a type checker says itself what is not there

    def __getattr__(name: str) -> None:
        raise no_attribute("fx.io", name, __all__, _ELSEWHERE)
