"""Parts of data that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cl_bench.data.base import Boxes, Example, Split
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats, kinds
from cl_bench.tasks.split_off import KEY, divide, read


def labelled(*counts: int) -> Split:
    examples = [
        Example(f"{label}/{index}", Path("x"), label) for label, count in enumerate(counts) for index in range(count)
    ]
    return Split(tuple(f"class {label}" for label in range(len(counts))), tuple(examples))


@pytest.mark.parametrize("counts", [(100, 100), (995, 5), (3, 4, 400), (7,) * 40])
def test_each_class_stands_in_each_part_and_the_whole_keeps_its_shares(counts: tuple[int, ...]) -> None:
    whole = labelled(*counts)
    parts = divide(kinds.get("classification"), whole, 0.1, 0.1)
    assert sorted(name for names in parts.values() for name in names) == sorted(one.name for one in whole.examples)
    for label, count in enumerate(counts):
        held = {part: sum(name.startswith(f"{label}/") for name in names) for part, names in parts.items()}
        assert min(held.values()) >= 1
        assert held["val"] <= max(1, round(count * 0.1) + 1)
    if min(counts) >= 10:
        assert (len(parts["val"]), len(parts["test"])) == (round(sum(counts) * 0.1),) * 2


def test_it_depends_on_names_and_targets_alone() -> None:
    whole = labelled(40, 30)
    turned = Split(whole.classes, whole.examples[::-1])
    classification = kinds.get("classification")
    assert divide(classification, whole, 0.1, 0.1) == divide(classification, turned, 0.1, 0.1)


def test_one_and_two_of_a_class_stay_with_train_first() -> None:
    parts = divide(kinds.get("classification"), labelled(1, 2), 0.1, 0.1)
    assert len(parts["train"]) == 3


def test_images_are_divided_by_the_rarest_class_they_hold_and_those_without_any_too() -> None:
    def boxes(*labels: int) -> Boxes:
        count = len(labels)
        return Boxes(np.zeros((count, 4), np.float32), np.array(labels, np.int64), np.zeros(count, bool))

    targets = [boxes(0)] * 20 + [boxes(0, 1)] * 10 + [boxes()] * 10
    whole = Split(("common", "rare"), tuple(Example(f"{i:02}", Path("x"), one) for i, one in enumerate(targets)))
    parts = divide(kinds.get("detection"), whole, 0.1, 0.1)
    for low, high, count in ((0, 20, 2), (20, 30, 1), (30, 40, 1)):
        inside = {f"{i:02}" for i in range(low, high)}
        assert [len(parts[part] & inside) for part in ("val", "test")] == [count, count]


def test_too_few_images_of_a_data_set_without_a_folder_are_told_of() -> None:
    with pytest.raises(UserError, match="the data of format scenes has 10 images, too few to split val off"):
        read(
            formats.get("scenes"),
            {"train": 10, "val": 10, KEY: {"of": "train", "val": 0.01}},
            "classification",
            "val",
            None,
        )
