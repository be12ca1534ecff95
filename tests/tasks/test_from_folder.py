"""Data of one's own: audited, and written down as an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from cl_bench.config.presets import load_experiment
from cl_bench.data.formats.scenes import generate, parse
from cl_bench.errors import UserError
from cl_bench.runner.prepare import prepare
from cl_bench.tasks.from_folder import add

SCENES = {"train": 12, "val": 10, "size": 64}
DIGITS = tuple("0123456789")


def folder(kind: str) -> Path:
    return generate(parse(SCENES), kind)


@pytest.mark.parametrize(
    ("kind", "classes"), [("segmentation", ("background", *DIGITS)), ("detection", ()), ("classification", ())]
)
def test_a_folder_becomes_an_experiment_that_can_be_prepared(
    kind: str, classes: tuple[str, ...], tmp_path: Path, results: Path
) -> None:
    path, found = add("mine", kind, folder(kind), tmp_path, classes=classes)
    assert "12 train and 10 val images" in found
    prepared = prepare(str(path), changes={"model.weights": "none"})
    assert prepared.plan.runs == []
    assert [run.order for run in prepared.plan.baselines] == [("mine",)]
    assert len(load_experiment(str(path)).tasks[0].classes or ()) == (11 if kind == "segmentation" else 10)


def test_what_cannot_be_added_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'detection'"):
        add("mine", "detections", tmp_path, tmp_path)
    with pytest.raises(UserError, match="may hold letters, digits"):
        add("../mine", "classification", folder("classification"), tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        add("mine", "classification", tmp_path / "nowhere", tmp_path)
    with pytest.raises(UserError, match="no data format reads keypoints from a folder"):
        add("mine", "keypoints", tmp_path, tmp_path)
    assert list(tmp_path.glob("*.yaml")) == []
    add("mine", "classification", folder("classification"), tmp_path)
    with pytest.raises(UserError, match="is there already"):
        add("mine", "classification", folder("classification"), tmp_path)
