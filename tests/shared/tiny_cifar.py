"""CIFAR-10 or -100 with few images, in the batches that torchvision reads."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def tiny_cifar(
    root: Path, monkeypatch: pytest.MonkeyPatch, dataset: Any, classes: Sequence[str], train: int, test: int
) -> Path:
    """Write `train` and `test` images of each class, of noise, to `root`; return it.

    dataset: torchvision's class, which until the test's end takes these files for the ones whose hashes it knows.
    """
    folder = root / dataset.base_folder
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    key = "labels" if dataset.__name__ == "CIFAR10" else "fine_labels"
    files = {dataset.train_list[0][0]: train, dataset.test_list[0][0]: test}
    for file, each in files.items():
        labels = list(range(len(classes))) * each
        batch = {"data": draw.integers(0, 256, (len(labels), 3072), dtype=np.uint8), key: labels}
        (folder / file).write_bytes(pickle.dumps(batch))
    (folder / dataset.meta["filename"]).write_bytes(pickle.dumps({dataset.meta["key"]: list(classes)}))
    unchecked = [[[file, None]] for file in files]
    monkeypatch.setattr(dataset, "train_list", unchecked[0])
    monkeypatch.setattr(dataset, "test_list", unchecked[1])
    monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": None})
    return root
