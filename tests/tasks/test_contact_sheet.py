"""`data show`: a sheet of any part of a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from cl_bench.cli.data import show
from cl_bench.config.schema import Augment
from cl_bench.data.base import Boxes, Example, Split
from cl_bench.errors import UserError
from cl_bench.kinds.base import Kind, Task
from cl_bench.plugins.registry import kinds
from cl_bench.tasks.contact_sheet import CELL, contact_sheet

pytestmark = pytest.mark.slow

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


BOX = (6, 40, 26, 54)
"""Left, top, right, bottom of the red thing on every upright photo of 64 x 96."""
COUNT = 8


def photos(root: Path, orientation: int) -> Split:
    """Write photos that are stored as `orientation` says, with boxes of what viewers show."""
    examples = []
    for seed in range(COUNT):
        pixels = np.random.default_rng(seed).integers(0, 90, (96, 64, 3)).astype(np.uint8)
        pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (220, 30, 30)
        exif, carrier = Image.Exif(), Image.fromarray(pixels)
        exif[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)
        carrier.info["exif"] = exif.tobytes()
        stored = ImageOps.exif_transpose(carrier)
        exif[0x0112] = orientation
        stored.save(root / f"{seed}.jpg", exif=exif, quality=95)
        boxes = Boxes(np.array([BOX], np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
        examples.append(Example(str(seed), root / f"{seed}.jpg", boxes))
    return Split(("thing",), tuple(examples))


def around(cell: npt.NDArray[np.int64], colour: tuple[int, int, int], tolerance: int) -> npt.NDArray[np.int64]:
    y, x = np.nonzero(np.abs(cell - colour).max(2) < tolerance)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


@pytest.mark.parametrize("augment", [Augment(), Augment(flip=True), Augment(zoom=(0.5, 0.9), stretch=1.5, oversize=2)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_drawn_where_training_sees_the_thing(tmp_path: Path, orientation: int, augment: Augment) -> None:
    kind = kinds.get("detection")
    task = Task(0, "own", kind, ("thing",), kind.predictors[0], (8,), 128, kind.Settings())
    sheet = np.asarray(contact_sheet(task, photos(tmp_path, orientation), COUNT, 1, augment)).astype(int)
    views = 1 if augment == Augment() else 2
    assert sheet.shape[1] == views * CELL
    found = []
    for row in range(COUNT):
        for view in range(views):
            cell = sheet[row * (CELL + 16) : row * (CELL + 16) + CELL, view * CELL : (view + 1) * CELL]
            red, yellow = around(cell, (220, 30, 30), 50), around(cell, (255, 255, 0), 70)
            # The line lies on the edge of the thing, so that red is seen within it alone.
            assert (np.abs(red - yellow) <= 9).all(), (row, view, red, yellow)
            found.append(tuple(yellow))
            if view == 0:
                assert np.abs(yellow - np.array(BOX) * np.tile([4, CELL / 96], 2)).max() <= 5
    assert len(set(found)) > (0 if augment == Augment() else 1), "an augmentation is another view"


@pytest.mark.parametrize("augment", [Augment(), Augment(flip=True, zoom=(0.5, 0.9), stretch=1.5), Augment(mosaic=1)])
def test_crowds_are_drawn_where_training_sees_what_it_leaves_out(tmp_path: Path, augment: Augment) -> None:
    split = photos(tmp_path, 1)
    crowd = tuple(replace(one, target=replace(one.target, crowd=np.ones(1, bool))) for one in split.examples)
    kind = kinds.get("detection")
    task = Task(0, "own", kind, ("",), kind.predictors[0], (8,), 128, kind.Settings())
    plain, marked = (
        np.asarray(contact_sheet(task, replace(split, classes=("",), examples=examples), COUNT, 1, augment)).astype(int)
        for examples in (split.examples, crowd)
    )
    yellow = [np.abs(sheet - (255, 255, 0)).max(2) < 70 for sheet in (plain, marked)]
    assert yellow[1].sum() > 0.9 * yellow[0].sum() > 0
    assert (plain != marked).any(), "a crowd says so"


def test_of_a_kind_that_cannot_draw_its_targets_no_file_is_called_augmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = kinds.get("detection")
    monkeypatch.setattr(type(kind), "as_drawn", Kind.as_drawn)
    task = Task(0, "own", kind, ("thing",), kind.predictors[0], (8,), 128, kind.Settings())
    sheet = contact_sheet(task, photos(tmp_path, 1), COUNT, 1, Augment(flip=True))
    assert sheet.width == CELL


def test_masks_are_drawn_where_training_sees_the_thing(tmp_path: Path) -> None:
    split = photos(tmp_path, 6)
    mask = np.zeros((96, 64), np.uint8)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    examples = tuple(Example(one.name, one.image, tmp_path / "mask.png") for one in split.examples)
    kind = kinds.get("segmentation")
    classes = ("background", "")
    task = Task(0, "own", kind, classes, kind.predictors[0], (8,), 128, kind.Settings())
    sheet = np.asarray(contact_sheet(task, Split(classes, examples), COUNT, 1, Augment(flip=True))).astype(int)
    sides = set()
    for row in range(COUNT):
        for view in range(2):
            cell = sheet[row * (CELL + 16) : row * (CELL + 16) + CELL, view * CELL : (view + 1) * CELL]
            # The class' dark red over the thing's light one: a mask elsewhere would leave the thing as light as it was.
            y, x = np.nonzero(cell[..., 0] > 120)
            assert cell[y, x, 0].max() < 200
            box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            flipped = bool(x.mean() > CELL / 2)
            wanted = np.array([CELL - 104, 107, CELL - 24, 144] if flipped else [24, 107, 104, 144])
            assert np.abs(box - wanted).max() <= 5
            sides.add((view, flipped))
    assert sides == {(0, False), (1, False), (1, True)}
