"""Images that one task trains on and another one is scored on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench.data.formats import scenes
from cl_bench.runner.prepare import prepare


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Masks and boxes of the same scenes: what is val of the masks is train of the boxes, under other names."""
    made = scenes.generate(scenes.parse({"train": 12, "val": 10, "size": 64}), "segmentation")
    shutil.copytree(made, tmp_path / "one")
    shutil.copytree(made, tmp_path / "other")
    for part in ("train", "val"):
        (tmp_path / "other" / part).rename(tmp_path / "other" / f"was {part}")
    (tmp_path / "other" / "was val").rename(tmp_path / "other" / "train")
    (tmp_path / "other" / "was train").rename(tmp_path / "other" / "val")
    return tmp_path


def test_what_another_task_trains_on_is_told(folders: Path, tiny: Callable[..., str], results: Path) -> None:
    classes = ["background", *map(str, range(10))]
    shared = {"kind": "segmentation", "classes": classes}
    tasks = [{"name": n, "data": {"format": "voc", "path": str(folders / n)}, **shared} for n in ("one", "other")]
    found = {entry.task.name: entry.audit.findings for entry in prepare(tiny(tasks=tasks)).catalog}
    said = "images of val are in train of task {}, byte for byte: streams see them, the baseline does not: "
    assert any(f"10 of 10 {said.format('other')}" in one and "and 5 more" in one for one in found["one"])
    assert any(f"12 of 12 {said.format('one')}" in one for one in found["other"])
    alone = prepare(tiny(tasks=tasks[:1])).catalog[0].audit.findings
    assert not any("are in train of task" in one for one in alone)
