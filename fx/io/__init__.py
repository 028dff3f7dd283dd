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

from .manager import CheckpointManager
from .pytorch import from_torch_layout, load_torch, torch_state_dict
from .safetensors import SafetensorsHeader, read_safetensors, read_safetensors_header, write_safetensors
from .saving import LoadReport, load, load_partial, read_metadata, save

__all__ = [
    "CheckpointManager", "LoadReport", "SafetensorsHeader", "from_torch_layout", "load", "load_partial", "load_torch",
    "read_metadata", "read_safetensors", "read_safetensors_header", "save", "torch_state_dict", "write_safetensors",
]  # fmt: skip
