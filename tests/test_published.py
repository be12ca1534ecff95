"""The experiments that stand beside published tables: they plan on data in their layouts, and train."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_cifar import tiny_cifar
from torchvision import datasets

from cl_bench import cli, run
from cl_bench.config.presets import load_experiment
from cl_bench.data.formats.voc import VOC_CLASSES
from cl_bench.runner.prepare import prepare

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "results" / "published.md").read_text(encoding="utf-8")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def classes(experiment: str) -> list[str]:
    return [name for task in load_experiment(experiment).tasks for name in task.classes or ()]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that CL_BENCH_DATA names."""
    monkeypatch.setenv("CL_BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write_voc(root: Path) -> None:
    """Write two images of every class of VOC, one to learn from, as VOC 2012 is laid out."""
    tree = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tree / folder).mkdir(parents=True)
    for part in ("train", "val"):
        for label in range(1, len(VOC_CLASSES)):
            name, mask = f"{part}{label}", np.zeros((32, 32), np.uint8)
            mask[8:24, 8:24] = label
            image = Image.new("RGB", (32, 32), (10 * label, 0, 100 * (part == "val")))
            image.save(tree / "JPEGImages" / f"{name}.jpg")
            Image.fromarray(mask).save(tree / "SegmentationClass" / f"{name}.png")
        names = "\n".join(f"{part}{label}" for label in range(1, len(VOC_CLASSES)))
        (tree / "ImageSets" / "Segmentation" / f"{part}.txt").write_text(names)


def test_the_tasks_divide_all_classes() -> None:
    assert classes("split_cifar10") == list(CIFAR10)
    hundred = classes("split_cifar100")
    assert len(set(hundred)) == 100
    assert hundred == sorted(hundred)
    assert {len(task.classes or ()) for task in load_experiment("split_cifar100").tasks} == {10}
    voc = load_experiment("voc_15_5").tasks
    assert [name for task in voc for name in task.learns or ()] == list(VOC_CLASSES)


def test_split_cifar10_plans_and_trains(data: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_cifar(data, monkeypatch, datasets.CIFAR10, CIFAR10, train=54, test=2)
    prepared = prepare("split_cifar10")
    assert len(prepared.plan.runs) == 3 * len(prepared.experiment.strategies)
    audits = [entry.audit for entry in prepared.catalog]
    assert [(len(one.train.examples), len(one.val.examples)) for one in audits] == [(8, 100)] * 5
    assert [one.test is not None and len(one.test.split.examples) for one in audits] == [4] * 5
    changes: dict[str, Any] = {
        **{"name": "small", "epochs": 1, "image_size": 64, "evaluate_every": 0, "threads": 1},
        "orders": [["airplane_automobile", "bird_cat"]],
    }
    strategies = ["er[memory=500,choose=reservoir]", "der[memory=100,alpha=0.2,beta=0.5]"]
    assert set(strategies) <= set(prepared.experiment.strategies)
    rows = run("split_cifar10", strategies=strategies, seeds=[0], changes=changes)
    last = rows[(rows["split"] == "test") & (rows["metric"] == "Top-1")]
    assert {"airplane_automobile", "bird_cat"} == set(last["task"])
    assert last["value"].between(0, 1).all()


def test_one_command_tells_what_would_be_trained(
    data: Path, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cl-bench", "run", "split_cifar10", "--dry-run"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: torchvision cannot read CIFAR10 from {data}: ")
    assert f"CIFAR10('{data}', train=True, download=True)" in error
    tiny_cifar(data, monkeypatch, datasets.CIFAR10, CIFAR10, train=54, test=2)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code in (0, None)
    # A seed: five baselines, naive's other four stages, joint's one, five stages each of si and of both der, which act
    # from the first on, and four each of the other five.
    assert f"{3 * (5 + 4 + 1 + 3 * 5 + 5 * 4)} stages" in capsys.readouterr().out


def test_split_cifar100_plans(data: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_cifar(data, monkeypatch, datasets.CIFAR100, classes("split_cifar100"), train=26, test=1)
    prepared = prepare("split_cifar100")
    assert len(prepared.plan.runs) == 3 * len(prepared.experiment.strategies)
    assert [len(entry.audit.train.examples) for entry in prepared.catalog] == [10] * 10


def test_voc_15_5_plans(data: Path, results: Path) -> None:
    write_voc(data)
    prepared = prepare("voc_15_5", changes={"model.weights": "none"})
    assert len(prepared.plan.runs) == 3 * len(prepared.experiment.strategies)
    assert [len(entry.audit.train.examples) for entry in prepared.catalog] == [15, 5]
    assert [entry.audit.test for entry in prepared.catalog] == [None, None]


@pytest.mark.parametrize("name", ["split_cifar10", "split_cifar100", "voc_15_5"])
def test_the_page_has_every_strategy_of_the_experiment_and_claims_no_run(name: str) -> None:
    section = PAGE.partition(f"`cl-bench run {name}")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^\| `([^`]+)` \|(.*)\|$", section, re.MULTILINE))
    content = yaml.safe_load((ROOT / "experiments" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert set(shown) == set(content["strategies"])
    assert all(cells.rstrip().endswith("not run here") for cells in shown.values())
