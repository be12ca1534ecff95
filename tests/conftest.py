"""What the tests share: a tiny experiment on embedded data, in folders of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

TINY = {
    "name": "tiny",
    "tasks": [
        {"name": "seg", "kind": "segmentation", "data": {"format": "scenes", "train": 12, "val": 10, "size": 64}},
        {
            "name": "det",
            "kind": "detection",
            "data": {"format": "scenes", "train": 12, "val": 10, "size": 64},
            "levels": 8,
        },
        {"name": "cls", "kind": "classification", "data": {"format": "scenes", "train": 12, "val": 10, "size": 64}},
    ],
    "strategies": ["naive"],
    "model": {"backbone": "mobilenetv3_small_050", "weights": "none", "neck_channels": 16, "shared_channels": 8},
    "epochs": 2,
    "batch_size": 4,
    "image_size": 64,
    "learning_rate": 1e-3,
    "threads": 1,
    "augment": {"flip": True},
}
"""Three tasks of two short epochs: a stage takes about a second."""


@pytest.fixture(scope="session", autouse=True)
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Generate embedded data once for all tests, away from the user's own cache."""
    before = os.environ.get("CL_BENCH_CACHE")
    os.environ["CL_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["CL_BENCH_CACHE"]
    else:
        os.environ["CL_BENCH_CACHE"] = before


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty results folder, in force for this test."""
    folder = tmp_path / "results"
    monkeypatch.setenv("CL_BENCH_RESULTS", str(folder))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes the tiny experiment, with changes of its top-level keys, and returns its path."""

    def write(**changes: Any) -> str:
        content = {**TINY, **changes}
        path = tmp_path / f"{content['name']}.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return write


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; the test is skipped where CL_BENCH_DATA does not name one."""
    folder = os.environ.get("CL_BENCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CL_BENCH_DATA names no folder with the real data sets")
    return Path(folder)
