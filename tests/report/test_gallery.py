"""Galleries: a sheet a task, of the stage that was asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from cl_bench.errors import UserError
from cl_bench.kinds.base import GALLERY, gallery_indices
from cl_bench.plugins.registry import kinds
from cl_bench.report import gallery
from cl_bench.report.gallery import save_galleries
from cl_bench.results.store.pictures import FILE, SIDE, Picture, encode, load, save
from cl_bench.runner.prepare import Prepared, prepare

pytestmark = pytest.mark.usefixtures("full_sizes")


def test_at_most_twelve_evenly_spread_images_are_shown() -> None:
    assert gallery_indices(5) == [0, 1, 2, 3, 4]
    assert gallery_indices(60)[0] == 0
    assert gallery_indices(60)[-1] == 59
    assert len(set(gallery_indices(60))) == GALLERY


@pytest.fixture
def trained(tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]) -> Prepared:
    return with_stages(prepare(tiny(epochs=1)))


def test_every_task_has_a_sheet_of_the_baseline_or_of_a_run(trained: Prepared, tmp_path: Path) -> None:
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


def test_a_sheet_holds_truth_and_prediction_side_by_side(trained: Prepared, tmp_path: Path) -> None:
    example = next(entry for entry in trained.catalog if entry.task.name == "seg").audit.val.examples[1]
    key = trained.plan.baseline("seg", 0)
    arrays = load_file(trained.store.folder(key) / "predictions.safetensors")
    kind = kinds.get("segmentation")
    (path, *_) = save_galleries(trained.folder, tmp_path)
    with Image.open(path) as sheet:
        for column, target in enumerate((example.target, arrays["seg/masks"][1])):
            wanted = kind.draw(Image.open(example.image), target, ("",) * 11).resize((SIDE, SIDE))
            left = 2 * SIDE + 8 + column * SIDE
            drawn = np.asarray(sheet.crop((left, 0, left + SIDE, SIDE)), np.float64)
            assert np.abs(drawn - np.asarray(wanted, np.float64)).mean() < 6, "but for JPEG's losses"


def test_what_a_stage_keeps_is_read_back(tmp_path: Path) -> None:
    picture = Picture("a/b", encode(Image.new("RGB", (40, 30), "red")), encode(Image.new("RGB", (40, 30), "blue")))
    save({"seg": [picture] * 2, "seg2": [picture]}, tmp_path / FILE)
    assert load(tmp_path / FILE, "seg") == [picture] * 2
    assert load(tmp_path / FILE, "det") == []
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    with pytest.raises(UserError, match="is torn"):
        load(tmp_path / FILE, "seg")


def test_what_is_missing_is_named(trained: Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown strategy of this experiment 'kd'"):
        save_galleries(trained.folder, tmp_path, "kd")
    with pytest.raises(UserError, match="unknown seed '7'"):
        save_galleries(trained.folder, tmp_path, "", 7)
    shutil.rmtree(trained.store.folder(trained.plan.baseline("seg", 0)))
    with pytest.raises(UserError, match=r"stage \w{12} is not in the store"):
        save_galleries(trained.folder, tmp_path)


def test_a_seed_that_only_another_strategy_has_is_named() -> None:
    runs = [SimpleNamespace(strategy=name, seed=seed) for name, seed in (("naive", 2), ("kd", 0))]
    with pytest.raises(UserError, match="unknown seed '2'"):
        gallery._stages(SimpleNamespace(runs=runs, baselines=[]), "kd", 2)
