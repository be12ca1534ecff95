"""Tasks as experiences: targets that behave like tensors, data sets that read the same twice, one collate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_bench.config.schema import Augment
from cl_bench.data.base import Boxes, Example, Split
from cl_bench.kinds.base import Task
from cl_bench.plugins.registry import kinds
from cl_bench.tasks.dataset import Targets, TaskDataset, collate
from cl_bench.training.stream import as_avalanche, joined, make_benchmark

SIZE, COUNT = 32, 24


def task(kind: str, index: int = 0, name: str = "t") -> Task:
    found = kinds.get(kind)
    return Task(index, name, found, ("background", "a", "b"), found.predictors[0], found.levels, SIZE, found.Settings())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def arrays(count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Images and masks whose left half is 1 and whose right half is 2."""
    images = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    images[:, :, : SIZE // 2], images[:, :, SIZE // 2 :] = 1, 2
    return images, images[..., 0].copy()


def dataset(kind: str, image: Path, flip: bool = True, seed: int = 0, name: str = "t", index: int = 0) -> TaskDataset:
    box = Boxes(np.array([[2, 4, 10, 12]], np.float32), np.array([1]), np.array([False]))
    target = {"segmentation": image, "detection": box, "classification": 2}[kind]
    split = Split(("background", "a", "b"), tuple(Example(f"{i:03}", image, target) for i in range(COUNT)))
    images, masks = arrays()
    return TaskDataset(
        task(kind, index, name), split, images, masks if kind == "segmentation" else None, Augment(flip=flip), seed
    )


def flips(data: TaskDataset, *draw_key: str | int) -> list[bool]:
    """Which images are turned with this draw key: the left half is 2 there."""
    return [bool(data.read(index, *draw_key)[0][0, 0, 0] == 2) for index in range(len(data))]


def test_targets_move_slice_and_copy() -> None:
    targets = Targets([{"label": torch.tensor(i)} for i in range(4)])
    moved = targets.to("meta", non_blocking=True)
    assert isinstance(moved, Targets)
    assert {target["label"].device.type for target in moved} == {"meta"}
    assert targets[0]["label"].device.type == "cpu"
    assert isinstance(targets[1:3], Targets)
    assert [int(target["label"]) for target in targets[1:3]] == [1, 2]
    assert int(targets[-1]["label"]) == 3
    copy = targets.clone()
    copy.pop()
    assert (len(copy), len(targets)) == (3, 4)


@pytest.mark.parametrize("wrap", [tuple, list])
def test_targets_concatenate_as_tensors_do(wrap: type) -> None:
    one, two = Targets([{"a": torch.tensor(1)}]), Targets([{"a": torch.tensor(2)}, {"a": torch.tensor(3)}])
    both = torch.cat(wrap([one, two]))
    assert isinstance(both, Targets)
    assert [int(target["a"]) for target in both] == [1, 2, 3]
    assert len(torch.cat(wrap([one, two]), dim=0)) == 3


def test_other_functions_of_torch_refuse_targets() -> None:
    with pytest.raises(TypeError):
        torch.stack((Targets(), Targets()))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["segmentation", "detection", "classification"])
def test_reading_twice_gives_equal_bits(kind: str, image: Path) -> None:
    data = dataset(kind, image)
    for _ in range(2):
        for index in range(3):
            (first, target), (second, again) = data.read(index, 0, 1), data.read(index, 0, 1)
            assert torch.equal(first, second)
            assert first.shape == (3, SIZE, SIZE)
            assert first.dtype == torch.uint8
            assert target.keys() == again.keys()
            assert all(torch.equal(target[key], again[key]) for key in target)
            assert all(type(value) is torch.Tensor for value in target.values())
            assert int(target["index"]) == index


def test_a_read_is_the_readers_own(image: Path) -> None:
    data = dataset("segmentation", image, flip=False)
    pixels, target = data[0]
    pixels.zero_()
    target["mask"].zero_()
    assert data[0][0].max() == 2
    assert data[0][1]["mask"].max() == 2


def test_flips_depend_on_seed_task_draw_key_and_image_only(image: Path) -> None:
    base = dataset("classification", image)
    turned = flips(base, 0, 1)
    assert 4 < sum(turned) < 20, "about half of the images"
    assert turned == flips(dataset("segmentation", image, index=2), 0, 1), "kind and index play no part"
    assert turned == flips(base, 0, 1)
    others = [
        flips(base, 0, 2),
        flips(base, 1, 1),
        flips(dataset("classification", image, seed=1), 0, 1),
        flips(dataset("classification", image, name="u"), 0, 1),
    ]
    assert all(other != turned for other in others)


def test_the_flip_of_an_image_does_not_depend_on_the_others(image: Path) -> None:
    base = dataset("classification", image)
    turned = flips(base, 0, 1)
    part = TaskDataset(
        base.task, replace(base.split, examples=base.split.examples[5:]), arrays()[0], None, base.augment, 0
    )
    assert flips(part, 0, 1) == turned[5:]


def test_a_plain_read_follows_the_data_sets_draw_key(image: Path) -> None:
    data = dataset("classification", image)
    data.draw_key = (0, 3)
    assert all(torch.equal(data[i][0], data.read(i, 0, 3)[0]) for i in range(COUNT))
    assert not any(flips(dataset("classification", image, flip=False), 0, 3))


def test_masks_and_boxes_turn_with_the_image_and_labels_do_not(image: Path) -> None:
    for index, turned in enumerate(flips(dataset("detection", image), 0)):
        pixels, target = dataset("segmentation", image).read(index, 0)
        assert torch.equal(pixels[0], target["mask"])
        boxes = dataset("detection", image).read(index, 0)[1]
        assert boxes["boxes"].tolist() == ([[22, 4, 30, 12]] if turned else [[2, 4, 10, 12]])
        assert boxes["labels"].tolist() == [1]
        assert int(dataset("classification", image).read(index, 0)[1]["label"]) == 2


def test_collate_takes_samples_of_different_kinds(image: Path) -> None:
    samples = [(*dataset(kind, image)[0], label) for label, kind in enumerate(("detection", "classification"))]
    images, targets, labels = collate(samples)
    assert images.shape == (2, 3, SIZE, SIZE)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(targets, Targets)
    assert [sorted(target) for target in targets] == [["boxes", "index", "labels"], ["index", "label"]]
    assert labels.tolist() == [0, 1]


def test_the_benchmark_has_an_experience_a_stage_and_a_test_experience_a_task(image: Path) -> None:
    seg, cls = dataset("segmentation", image, index=0), dataset("classification", image, index=1)
    benchmark = make_benchmark([[seg], [cls]], [seg, cls])
    assert [experience.task_label for experience in benchmark.train_stream] == [0, 1]
    assert [experience.task_label for experience in benchmark.test_stream] == [0, 1]
    assert [len(experience.dataset) for experience in benchmark.train_stream] == [COUNT, COUNT]
    pixels, target, label = benchmark.train_stream[1].dataset[3]
    assert label == 1
    assert int(target["index"]) == 3
    assert torch.equal(pixels, cls[3][0])


def test_a_joint_experience_holds_every_task_one_behind_the_other(image: Path) -> None:
    seg, cls = dataset("segmentation", image, index=0), dataset("classification", image, index=1)
    both = joined([seg, cls])
    assert len(both) == 2 * COUNT
    assert [both[i][2] for i in (0, COUNT - 1, COUNT, 2 * COUNT - 1)] == [0, 0, 1, 1]
    assert "mask" in both[COUNT - 1][1]
    assert "label" in both[COUNT][1]
    (experience,) = make_benchmark([[seg, cls]], [seg]).train_stream
    assert sorted(experience.task_labels) == [0, 1]


def test_the_task_set_splits_a_data_set_by_task(image: Path) -> None:
    seg, cls = dataset("segmentation", image, index=0), dataset("classification", image, index=1)
    assert list(as_avalanche(cls).task_set) == [1]
    both = joined([seg, cls]).task_set
    assert sorted(both) == [0, 1]
    assert len(both[1]) == COUNT
