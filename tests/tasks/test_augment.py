"""Augmentation: masks and boxes stay with their images, margins are void, draws are reproducible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, KeyPoints, Mask

from cl_bench.config.schema import Augment
from cl_bench.data.base import Example, Split
from cl_bench.kinds.base import Task
from cl_bench.plugins.registry import kinds
from cl_bench.tasks.augment import GREY, VOID, Sample, counterparts, flipped, mosaic, recoloured, window, zoomed
from cl_bench.tasks.dataset import TaskDataset

SIZE = 64


def sample(box: tuple[float, ...] = (16, 8, 40, 56), value: int = 255, size: int = SIZE) -> Sample:
    """A bright rectangle, marked in the mask and by a box."""
    left, top, right, bottom = map(int, box)
    image, mask = torch.zeros(3, size, size, dtype=torch.uint8), torch.zeros(size, size, dtype=torch.uint8)
    image[:, top:bottom, left:right], mask[top:bottom, left:right] = value, 1
    boxes = BoundingBoxes(torch.tensor([box]), format=BoundingBoxFormat.XYXY, canvas_size=(size, size))
    return image, {"mask": Mask(mask), "boxes": boxes, "labels": torch.tensor([7])}


def draws(count: int = 50) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def agree(found: Sample) -> bool:
    """Whether the bright rectangle, its mask and its box lie in one place (the box to two pixels)."""
    image, target = found
    bright, marked, inside = image[0] > 127, target["mask"] == 1, target["mask"] != VOID
    assert (bright == marked)[inside].float().mean() > 0.95, "but for a pixel at the edges"
    if not len(target["boxes"]):
        return bool(marked.float().mean() < 0.3)
    y, x = marked.nonzero().unbind(1)
    seen = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
    return bool((target["boxes"][0].as_subclass(torch.Tensor) - seen).abs().max() <= 2)


def test_nothing_to_do_changes_nothing() -> None:
    before = sample()
    assert zoomed(before, Augment(), SIZE, np.random.default_rng(0)) is before


@pytest.mark.parametrize("zoom", [(0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (0.5, 2.0)])
@pytest.mark.parametrize("stretch", [1.0, 1.5])
def test_mask_and_boxes_stay_with_the_image(zoom: tuple[float, float], stretch: float) -> None:
    for draw in draws():
        found = zoomed(sample(), Augment(zoom=zoom, stretch=stretch, oversize=1), SIZE, draw)
        assert found[0].shape == (3, SIZE, SIZE)
        assert found[0].dtype == torch.uint8
        assert agree(found)
        assert len(found[1]["labels"]) == len(found[1]["boxes"])


def test_a_margin_is_grey_and_void_and_the_box_half_as_large() -> None:
    image, target = window(sample(), -32, -32, 128, 128, SIZE)
    assert (image[:, :15] == GREY).all()
    assert (target["mask"][:15] == VOID).all()
    assert (target["mask"][17:47, 17:47] != VOID).all()
    assert target["boxes"].tolist() == [[24.0, 20.0, 36.0, 44.0]]


def test_a_box_of_which_little_is_left_goes_with_its_label() -> None:
    kept = window(sample(), 20, 0, 64, 64, SIZE)[1]
    assert kept["boxes"].tolist() == [[0.0, 8.0, 20.0, 56.0]]
    assert kept["labels"].tolist() == [7]
    gone = window(sample(), 36, 0, 64, 64, SIZE)[1]  # 4 of 24 columns are left
    assert gone["boxes"].shape == (0, 4)
    assert gone["labels"].shape == (0,)


def test_an_oversize_image_comes_down_to_the_task_s_size() -> None:
    image, target = zoomed(sample((32, 16, 80, 112), size=128), Augment(oversize=2), SIZE, np.random.default_rng(0))
    assert image.shape == (3, SIZE, SIZE)
    assert target["boxes"].tolist() == [[16.0, 8.0, 40.0, 56.0]]
    assert agree((image, target))


def test_a_flip_turns_all_but_the_label() -> None:
    image, target = flipped(sample(), ("a",))
    assert target["boxes"].tolist() == [[24.0, 8.0, 48.0, 56.0]]
    assert target["labels"].tolist() == [7]
    assert agree((image, target))


def test_a_mosaic_holds_the_boxes_of_all_four_where_they_are_seen() -> None:
    counts = set()
    for draw in draws():
        image, target = mosaic([sample() for _ in range(4)], draw)
        assert image.shape == (3, SIZE, SIZE)
        assert target["mask"].shape == (SIZE, SIZE)
        assert len(target["boxes"]) == len(target["labels"])
        counts.add(len(target["boxes"]))
        for left, top, right, bottom in target["boxes"].round().long().tolist():
            inner = image[0, top + 2 : bottom - 2, left + 2 : right - 2]
            assert (inner > 250).all()
        assert ((image[0] > 127) == (target["mask"] == 1)).float().mean() > 0.95
    assert {1, 2, 4} <= counts


def test_colours_change_by_at_most_the_share_and_back_to_none() -> None:
    grey = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    means = [float(recoloured(grey, 0.2, draw).float().mean()) for draw in draws()]
    assert 79 <= min(means) < 90
    assert 110 < max(means) <= 121


def dataset(augment: Augment, count: int = 8) -> TaskDataset:
    """Images of one grey value each, 10 * (index + 1)."""
    kind = kinds.get("segmentation")
    task = Task(0, "seg", kind, ("background", "a"), "linear", (8,), SIZE, kind.Settings())
    images = np.stack([np.full((SIZE, SIZE, 3), 10 * (i + 1), np.uint8) for i in range(count)])
    masks = np.zeros((count, SIZE, SIZE), np.uint8)
    split = Split(task.classes, tuple(Example(str(i), Path("x"), None) for i in range(count)))
    return TaskDataset(task, split, images, masks, augment)


def test_a_memory_s_mosaics_hold_stored_images_only() -> None:
    data = dataset(Augment(mosaic=1.0))
    stored = [1, 5]
    reads = [data.read(i, "replay", step, among=stored)[0] for step in range(40) for i in stored]
    assert [int(v) for v in torch.cat(reads).aminmax()] == [20, 60], "seams are blends of the two"
    free = [data.read(1, "replay", step)[0] for step in range(40)]
    assert [int(v) for v in torch.cat(free).aminmax()] == [10, 80]


def test_a_past_data_set_mixes_no_other_image_into_a_plain_read() -> None:
    data = dataset(Augment(mosaic=1.0))
    data.rehearsed, data.draw_key = True, ("memory", "cls", 0)
    assert data[3][0].unique().tolist() == [40]
    data.rehearsed = False
    assert len(torch.cat([data[i][0] for i in range(8)]).unique()) > 4
    assert len(data[3][0].unique()) > 1


def test_what_is_read_depends_on_the_occasion_and_not_on_what_was_read_before() -> None:
    augment = Augment(flip=True, zoom=(0.5, 2.0), stretch=1.3, colour=0.3, mosaic=0.5)
    one, two = dataset(augment), dataset(augment)
    for index in range(8):
        two.read(index, "other", 5)
    for index in range(8):
        (image, target), (again, second) = one.read(index, 0, 3), two.read(index, 0, 3)
        assert torch.equal(image, again)
        assert torch.equal(target["mask"], second["mask"])
    assert any(not torch.equal(one.read(i, 0, 3)[0], one.read(i, 0, 4)[0]) for i in range(8))


def test_a_flipped_point_is_as_far_from_the_other_edge() -> None:
    points = KeyPoints(torch.tensor([[0.0, 5.0], [100.0, 7.0], [160.0, 0.0]]), canvas_size=(64, 160))
    _, target = flipped((torch.zeros(3, 64, 160, dtype=torch.uint8), {"points": points}), "abc")
    assert target["points"].tolist() == [[160.0, 5.0], [60.0, 7.0], [0.0, 0.0]]
    assert points.tolist()[1] == [100.0, 7.0], "what was given stays"


def test_a_flipped_left_eye_is_a_right_one() -> None:
    names = ("nose", "left_eye", "right_eye", "Left Ear", "right ear", "left paw")
    assert counterparts(names) == [0, 2, 1, 4, 3, 5]
    points = KeyPoints(torch.tensor([[10.0, 1], [4, 2], [6, 3], [2, 4], [8, 5], [1, 6]]), canvas_size=(64, 64))
    _, target = flipped((torch.zeros(3, 64, 64, dtype=torch.uint8), {"points": points}), names)
    assert target["points"].as_subclass(torch.Tensor)[:3].tolist() == [[54.0, 1], [58, 3], [60, 2]]
    image = torch.zeros(3, 64, 64, dtype=torch.uint8), {"points": points}
    twice = flipped(flipped(image, names), names)[1]["points"].as_subclass(torch.Tensor)
    assert twice.tolist() == points.as_subclass(torch.Tensor).tolist()
