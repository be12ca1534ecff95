"""What bytes and tensors are known by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and values (parameters and buffers alike)."""
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's bytes in hexadecimal; algorithm: one of hashlib's."""
    total = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**20):
            total.update(block)
    return total.hexdigest()
