"""The README's moving picture: a frame a stage, drawn from what a run's stages keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import message
from PIL import Image

from cl_bench.results.rows import read_results
from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train
from tools.moving_picture import EMPTY, WIDTH, columns, frames, save

ROOT = Path(__file__).parents[2]


def test_the_readmes_is_small_and_as_wide_as_its_column() -> None:
    file = ROOT / "docs" / "images" / "gallery.gif"
    assert f"]({file.relative_to(ROOT)})" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert file.stat().st_size < 2_000_000
    with Image.open(file) as picture:
        assert (picture.width, picture.n_frames) == (830, 3)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("full_sizes")
def test_a_frame_a_stage_of_a_run(tiny: Callable[..., str], results: Path, tmp_path: Path) -> None:
    prepared = prepare(tiny(epochs=1, strategies=["naive", "kd"], orders=[["seg", "det"]]))
    assert train(prepared) == {}
    found = read_results(prepared.folder)
    shown = columns(found, ["naive", "kd"], {"seg": 1, "det": 0})
    seg, det = shown
    assert (seg.title, det.title) == ("segmentation", "detection")
    assert [one is None for one in det.answers["naive"]] == [True, False]
    assert seg.answers["naive"][0] == seg.answers["kd"][0], "the first stage is shared"
    assert seg.answers["naive"][1] != seg.answers["kd"][1]
    last = found.curves.query("strategy == 'kd' and task == 'seg' and metric == 'mIoU' and last")["value"].tolist()
    assert seg.scores["kd"] == [f"mIoU {value:.2f}".replace("0.", ".") for value in last]
    assert det.scores["kd"][0] == ""
    first, second = frames(["segmentation", "detection"], shown)
    grey = tuple(int(EMPTY[place : place + 2], 16) for place in (1, 3, 5))
    assert [(np.asarray(one) == grey).all(2).mean() > 0.1 for one in (first, second)] == [True, False]
    with Image.open(save([first, second], tmp_path / "out" / "x.gif")) as picture:
        assert (picture.size, picture.n_frames) == ((WIDTH, first.height), 2)  # type: ignore[attr-defined]
        assert picture.convert("RGB").getpixel((WIDTH - 1, 0)) == (255, 255, 255)
    assert "did you mean 'kd'?" in message(columns, found, ["kd", "kdd"], {"seg": 0})
    assert message(columns, found, ["kd"], {"seg": 99}) == "seg=99 is no image of the gallery"
