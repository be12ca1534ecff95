"""The dev part: a quarter of train, the same each time, with every class in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from cl_bench.config.presets import load_experiment
from cl_bench.data.base import Boxes, Example, Split
from cl_bench.errors import UserError
from cl_bench.plugins.registry import kinds
from cl_bench.runner.prepare import prepare
from cl_bench.tasks.catalog import load_catalog
from cl_bench.tasks.dev_split import dev_split

pytestmark = pytest.mark.slow

CLASSIFICATION, DETECTION = kinds.get("classification"), kinds.get("detection")


def labelled(counts: list[int]) -> Split:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return Split(
        tuple(map(str, range(len(counts)))),
        tuple(Example(f"{i:04}", Path(f"{i}.jpg"), label) for i, label in enumerate(labels)),
    )


def names(split: Split) -> list[str]:
    return [example.name for example in split.examples]


@pytest.mark.parametrize("counts", [[40, 40], [100, 8, 4], [9, 9, 9, 9]])
def test_dev_is_a_quarter_of_every_class_and_the_rest_is_train(counts: list[int]) -> None:
    whole = labelled(counts)
    train, dev = dev_split(CLASSIFICATION, whole)
    assert sorted(names(train) + names(dev)) == names(whole)
    assert not set(names(train)) & set(names(dev))
    assert names(dev) == sorted(names(dev))
    found = CLASSIFICATION.count(dev)
    assert np.abs(found - np.array(counts) / 4).max() < 1
    assert abs(len(dev.examples) - sum(counts) / 4) < 1


@pytest.mark.parametrize("counts", [[40, 40], [100, 8, 4], [9, 9, 9, 9]])
def test_the_four_quarters_are_the_whole(counts: list[int]) -> None:
    whole = labelled(counts)
    quarters = [dev_split(CLASSIFICATION, whole, fold)[1] for fold in range(4)]
    assert sorted(name for quarter in quarters for name in names(quarter)) == names(whole)
    for quarter in quarters:
        assert np.abs(CLASSIFICATION.count(quarter) - np.array(counts) / 4).max() <= 1


def test_the_order_of_the_examples_does_not_matter() -> None:
    whole = labelled([30, 20, 10])
    mixed = replace(whole, examples=tuple(reversed(whole.examples)))
    assert set(names(dev_split(CLASSIFICATION, mixed)[1])) == set(names(dev_split(CLASSIFICATION, whole)[1]))


def test_an_image_of_several_classes_counts_for_the_rarest_and_one_of_none_is_divided_too() -> None:
    def boxes(*labels: int) -> Boxes:
        count = len(labels)
        return Boxes(np.ones((count, 4), np.float32), np.array(labels, np.int64), np.zeros(count, bool))

    targets = [boxes(0)] * 40 + [boxes(0, 0, 1)] * 8 + [boxes()] * 8
    whole = Split(("common", "rare"), tuple(Example(f"{i:02}", Path("x"), t) for i, t in enumerate(targets)))
    _, dev = dev_split(DETECTION, whole)
    held = [tuple(example.target.labels) for example in dev.examples]
    assert (held.count((0,)), held.count((0, 0, 1)), held.count(())) == (10, 2, 2)


LARGER = [{**task, "data": {**task["data"], "train": 80}} for task in TINY["tasks"]]
"""With 12 images for ten classes, dev would take the last one of a class."""


def test_dev_replaces_val_in_an_experiment_and_never_holds_it(tiny: Callable[..., str], results: Path) -> None:
    plain, dev = (load_catalog(load_experiment(tiny(tasks=LARGER), {"split": name})) for name in ("val", "dev3"))
    for entry, other in zip(plain, dev, strict=True):
        assert len(other.audit.val.examples) == 20
        assert names(other.audit.train) + names(other.audit.val) != names(entry.audit.train)
        assert sorted(names(other.audit.train) + names(other.audit.val)) == names(entry.audit.train)
        assert any(finding.startswith("dev3: 20 of 80 training images") for finding in other.audit.findings)


def test_results_on_dev_have_stages_and_a_folder_of_their_own(tiny: Callable[..., str], results: Path) -> None:
    val, dev, other = (prepare(tiny(tasks=LARGER), split=split) for split in ("", "dev", "dev3"))
    assert not set(val.plan.stages) & set(dev.plan.stages)
    assert not set(other.plan.stages) & (set(dev.plan.stages) | set(val.plan.stages))
    assert (val.folder, dev.folder) == (results / "tiny", results / "tiny-dev")
    assert other.folder == results / "tiny-dev3"


def test_a_class_too_rare_to_split_is_named(tiny: Callable[..., str], results: Path) -> None:
    with pytest.raises(UserError, match=r"class '\d' of task cls has no example in train"):
        prepare(tiny(), split="dev")


def test_the_leaked_images_of_mini_coco_are_in_neither_part(real_data: Path) -> None:
    experiment = load_experiment("unified_onehead_lite", {"split": "dev"})
    audited = load_catalog(experiment)[1].audit
    leaked = {"000000323751", "000000370486", "000000428111", "000000511204", "000000513567"}
    assert not leaked & {*names(audited.train), *names(audited.val)}
    assert leaked == set(audited.leaked), "the audit of dev, which has none, does not hide them"
    whole = load_catalog(load_experiment("unified_onehead_lite"))[1].audit
    assert audited.details == tuple(one for one in whole.details if not one.startswith("test"))
    assert (len(audited.train.examples), len(audited.val.examples)) == (176, 59)
    assert min(audited.val_counts.values()) > 0
