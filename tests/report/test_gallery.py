"""Galleries: a sheet a task, of the stage that was asked for."""

from __future__ import annotations

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
from cl_bench.report.gallery import save_galleries


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


def test_predictions_are_those_of_the_stage(trained: api.Prepared) -> None:
    from safetensors.numpy import load_file

    for entry in load_catalog(trained.experiment):
        stage = trained.plan.baseline(entry.task.name, 0)
        arrays = load_file(trained.store.folder(stage) / "predictions.safetensors")
        mine = {name.split("/")[1]: array for name, array in arrays.items()}
        for index in gallery_indices(len(entry.audit.val.examples)):
            found = entry.task.kind.predicted(mine, index)
            if entry.task.kind.name == "classification":
                assert found == mine["logits"][index].argmax()
            if entry.task.kind.name == "segmentation":
                assert found.shape == (64, 64)


def test_what_is_missing_is_named(trained: api.Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown strategy of this experiment 'kd'"):
        save_galleries(trained.folder, tmp_path, "kd")
    with pytest.raises(UserError, match="unknown seed '7'"):
        save_galleries(trained.folder, tmp_path, "", 7)
    shutil.rmtree(trained.store.folder(trained.plan.baseline("seg", 0)))
    with pytest.raises(UserError, match=r"stage \w{12} is not in the store"):
        save_galleries(trained.folder, tmp_path)
