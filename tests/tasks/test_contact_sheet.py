"""`data show`: a sheet of any part of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cl_bench.cli.data import show
from cl_bench.errors import UserError

SMALL = ["tasks.cls.data.train=12", "tasks.cls.data.val=10", "tasks.cls.data.test=11", "tasks.cls.data.size=64"]


def test_each_part_has_a_sheet_of_its_own(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        show("quickstart", "cls", split, 3, tmp_path / f"{split}.png", SMALL)
        with Image.open(tmp_path / f"{split}.png") as sheet:
            assert sheet.width > sheet.height
    assert len({path.read_bytes() for path in tmp_path.glob("*.png")}) == 3


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the data of task cls has no test part"):
        show("quickstart", "cls", "test", 3, tmp_path / "sheet.png", [*SMALL, "tasks.cls.data.test=0"])
    with pytest.raises(UserError, match="unknown split 'tets'; did you mean 'test'"):
        show("quickstart", "cls", "tets", 3, tmp_path / "sheet.png", SMALL)
