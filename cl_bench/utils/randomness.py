"""Random streams, each derived from what it is for, so that none is shared and none can be shifted by another."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(*parts: str | int) -> int:
    """Return a 63-bit seed that depends on `parts` alone, whatever the machine or process."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def permutation(length: int, *parts: str | int) -> list[int]:
    """Return a permutation of 0..length-1 that depends on `parts` alone."""
    return np.random.default_rng(derive(*parts)).permutation(length).tolist()


def seed_all(seed: int) -> None:
    """Seed the global generators of torch, numpy and Python, for code that draws from them."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - some Avalanche plug-ins draw from numpy's global generator
    random.seed(seed)


@contextmanager
def isolated(seed: int | None = None) -> Iterator[None]:
    """Leave the global generators as they were on entry; inside, start from `seed` where one is given."""
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=cuda):
        if seed is not None:
            seed_all(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
