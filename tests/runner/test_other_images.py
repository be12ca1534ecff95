"""Other images for tasks whose data go by a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_cifar import tiny_cifar
from torchvision import datasets

from cl_bench import run
from cl_bench.config.presets import load_experiment
from cl_bench.errors import UserError
from cl_bench.results.rows import load_results
from cl_bench.runner.other_images import other_images
from cl_bench.runner.rescore import rescore

ANIMALS = ("bird", "cat", "deer")


@pytest.fixture
def experiment(tiny: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    root = tiny_cifar(tmp_path / "cifar", monkeypatch, datasets.CIFAR10, ANIMALS, train=8, test=2)
    data = {"format": "torchvision", "dataset": "CIFAR10", "root": str(root), "val": 2}
    task = {"name": "cls", "kind": "classification", "data": data, "classes": ["cat", "bird"]}
    return tiny(tasks=[task], strategies=[], orders=[], epochs=1)


def folders(root: Path, each: int = 2, names: tuple[str, ...] = ("bird", "cat")) -> Path:
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(each):
            Image.new("RGB", (32, 32), (label * 90, index * 40, 7)).save(root / name / f"{index}.png")
    return root


@pytest.mark.parametrize("below", ["", "test"])
def test_folders_of_classes_take_the_place_of_torchvision_s(experiment: str, below: str, tmp_path: Path) -> None:
    folders(tmp_path / "own" / below)
    if below:
        folders(tmp_path / "own" / "train")
    split = other_images(load_experiment(experiment), "cls", str(tmp_path / "own"), "test")
    assert split.classes == ("cat", "bird")
    assert [(one.name, one.target) for one in split.examples] == [
        *(("bird/0", 1), ("bird/1", 1)),
        *(("cat/0", 0), ("cat/1", 0)),
    ]


@pytest.mark.parametrize("below", ["", "test"])
def test_a_folder_is_scored_whole_where_the_task_s_own_parts_are_split_off(
    tiny: Callable[..., Any], below: str, tmp_path: Path
) -> None:
    data = {
        "format": "image_folder",
        "path": str(folders(tmp_path / "data", 20)),
        "split_off": {"val": 0.1, "test": 0.1},
    }
    loaded = load_experiment(tiny(tasks=[{"name": "cls", "kind": "classification", "data": data}]))
    folders(tmp_path / "own" / below, 5)
    split = other_images(loaded, "cls", str(tmp_path / "own"), "test")
    assert (split.classes, len(split.examples)) == (("bird", "cat"), 10)


def test_another_copy_of_the_data_set_is_read_as_such(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_cifar(tmp_path / "copy", monkeypatch, datasets.CIFAR10, ANIMALS, train=8, test=3)
    split = other_images(load_experiment(experiment), "cls", str(other), "test")
    assert np.bincount([one.target for one in split.examples]).tolist() == [3, 3]


def test_what_is_neither_is_one_sentence(experiment: str, tmp_path: Path) -> None:
    loaded = load_experiment(experiment)
    with pytest.raises(UserError, match=r"--data cls=.*nowhere is no folder"):
        other_images(loaded, "cls", str(tmp_path / "nowhere"), "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"--data cls=.*empty: .* one layout that `cl-bench data add` finds, and is no"):
        other_images(loaded, "cls", str(tmp_path / "empty"), "test")
    with pytest.raises(UserError, match="unknown task 'clss'; did you mean 'cls'"):
        other_images(loaded, "clss", str(tmp_path), "test")


def test_embedded_data_too(tiny: Callable[..., Any], tmp_path: Path) -> None:
    folders(tmp_path / "own", names=("3", "7"))
    split = other_images(load_experiment(tiny()), "cls", str(tmp_path / "own"), "test")
    assert [one.target for one in split.examples] == [3, 3, 7, 7]
    with pytest.raises(UserError, match=r"--data det=.*own: the task's data \(format scenes\) go by a name"):
        other_images(load_experiment(tiny()), "det", str(tmp_path / "own"), "test")


def test_rescore_scores_stages_of_torchvision_s_data_on_them(experiment: str, results: Path, tmp_path: Path) -> None:
    run(experiment)
    found = rescore(results / "tiny", {"cls": str(folders(tmp_path / "own"))}, name="elsewhere")
    assert found.scored == 1
    rows = load_results(found.folder)
    there = rows[(rows["split"] == "test") & (rows["metric"] == "Top-1")]
    assert set(there["status"]) == {"done"}
