"""Galleries: a sheet a task, of the stage that was asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench import api
from cl_bench.catalog import load_catalog
from cl_bench.errors import UserError
from cl_bench.kinds.base import GALLERY, gallery_indices
from cl_bench.registry import kinds
from cl_bench.report.gallery import SIDE, _sheet, save_galleries


def test_at_most_twelve_evenly_spread_images_are_shown() -> None:
    assert gallery_indices(5) == [0, 1, 2, 3, 4]
    assert gallery_indices(60)[0] == 0
    assert gallery_indices(60)[-1] == 59
    assert len(set(gallery_indices(60))) == GALLERY


@pytest.fixture
def trained(tiny: Callable[..., str], results: Path) -> api.Prepared:
    prepared = api.prepare(tiny(epochs=1))
    api.train(prepared)
    return prepared


def test_every_task_has_a_sheet_of_the_baseline_or_of_a_run(trained: api.Prepared, tmp_path: Path) -> None:
    paths = save_galleries(trained.folder, tmp_path / "out")
    assert [path.name for path in paths] == [f"gallery-baseline-{task}.jpg" for task in ("seg", "det", "cls")]
    runs = save_galleries(trained.folder, tmp_path / "out", "naive", 0)
    assert [path.name for path in runs] == [f"gallery-naive-{task}.jpg" for task in ("seg", "det", "cls")]
    for path in (*paths, *runs):
        with Image.open(path) as sheet:
            assert sheet.size[0] == 3 * (2 * 192 + 8)
            assert np.asarray(sheet).std() > 10


def test_predictions_are_those_of_the_image() -> None:
    logits = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    assert [kinds.get("classification").predicted({"logits": logits}, i) for i in range(3)] == [2, 0, 1]
    count = 30
    masks = np.stack([np.full((4, 4), i, np.uint8) for i in gallery_indices(count)])
    arrays = {"masks": masks, "confusion": np.zeros((count, 2, 2))}
    assert all(kinds.get("segmentation").predicted(arrays, i).max() == i for i in gallery_indices(count))
    detections = {
        "image": np.array([0, 1, 1], np.int32),
        "label": np.array([0, 1, 2], np.int32),
        "score": np.array([0.9, 0.9, 0.01], np.float32),
        "box": np.arange(12, dtype=np.float32).reshape(3, 4),
    }
    found = kinds.get("detection").predicted(detections, 1)
    assert found.xyxy.tolist() == [[4, 5, 6, 7]], "the unsure one is left out"
    assert found.labels.tolist() == [1]


def test_a_sheet_holds_truth_and_prediction_side_by_side(trained: api.Prepared) -> None:
    entry = next(entry for entry in load_catalog(trained.experiment) if entry.task.name == "seg")
    shown = gallery_indices(len(entry.audit.val.examples))
    masks = np.zeros((len(shown), 64, 64), np.uint8)
    masks[1] = 3
    sheet = _sheet(entry, {"masks": masks, "confusion": np.zeros((len(entry.audit.val.examples), 11, 11))})
    example = entry.audit.val.examples[shown[1]]
    left = 2 * SIDE + 8
    for column, target in enumerate((example.target, masks[1])):
        wanted = entry.task.kind.draw(Image.open(example.image), target, entry.task.classes).resize((SIDE, SIDE))
        place = (left + column * SIDE, 0, left + (column + 1) * SIDE, SIDE)
        assert np.array_equal(np.asarray(sheet.crop(place)), np.asarray(wanted))


def test_predictions_of_other_data_are_not_drawn(trained: api.Prepared, tmp_path: Path) -> None:
    plan = json.loads((trained.folder / "plan.json").read_text())
    plan["settings"]["tasks"][0]["data"]["val"] = 11
    (trained.folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UserError, match="the data of task seg changed since it was scored"):
        save_galleries(trained.folder, tmp_path)


def test_what_is_missing_is_named(trained: api.Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown strategy of this experiment 'kd'"):
        save_galleries(trained.folder, tmp_path, "kd")
    with pytest.raises(UserError, match="unknown seed '7'"):
        save_galleries(trained.folder, tmp_path, "", 7)
    shutil.rmtree(trained.store.folder(trained.plan.baseline("seg", 0)))
    with pytest.raises(UserError, match=r"stage \w{12} is not in the store"):
        save_galleries(trained.folder, tmp_path)
