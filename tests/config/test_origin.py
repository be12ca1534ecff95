"""Where files are that an experiment names, and experiments that results were made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import message

from cl_bench.config.presets import load_experiment


def _write(file: Path, path: str, **more: object) -> str:
    file.parent.mkdir(exist_ok=True)
    task = {"name": "a", "kind": "classification", "data": {"format": "image_folder", "path": path}}
    file.write_text(yaml.safe_dump({"tasks": [task], **more}))
    return str(file)


def _path(file: str, *changes: str) -> str:
    return str(load_experiment(file, changes).tasks[0].data["path"])


def test_a_path_is_looked_for_beside_the_file_and_then_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here / "both", here / "mine", there / "both", there / "theirs"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert _path(_write(there / "x.yaml", "theirs")) == str(there / "theirs")
    assert _path(_write(there / "x.yaml", "both")) == str(there / "both")
    assert _path(_write(there / "x.yaml", "mine")) == "mine", "as before there was a look beside the file"
    assert _path(_write(there / "x.yaml", "nowhere")) == "nowhere"
    assert _path(_write(there / "x.yaml", "${HOME}/x")) == "${HOME}/x"
    assert _path(_write(here / "x.yaml", "both")) == "both"
    assert _path(_write(there / "x.yaml", "theirs"), "tasks.a.data.path=mine") == "mine", "a change is made from here"
    monkeypatch.chdir(tmp_path)
    assert _path(_write(there / "x.yaml", "theirs")) == "there/theirs", "results name no more folders than they must"


def test_a_folder_of_torchvision_is_looked_for_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there" / "cifar").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    data = {"format": "torchvision", "dataset": "CIFAR10", "root": "cifar"}
    for name, root in (("x.yaml", "cifar"), ("y.yaml", "elsewhere")):
        task = {"name": "a", "kind": "classification", "data": {**data, "root": root}}
        (tmp_path / "there" / name).write_text(yaml.safe_dump({"tasks": [task]}))
    (tmp_path / "there" / "z.yaml").write_text("extends: y.yaml\ntasks.a.data.root: cifar\n")
    roots = [
        load_experiment(tmp_path / "there" / name).tasks[0].data["root"] for name in ("x.yaml", "y.yaml", "z.yaml")
    ]
    assert roots == [str(tmp_path / "there" / "cifar"), "elsewhere", str(tmp_path / "there" / "cifar")]


def test_what_extends_a_file_elsewhere_finds_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base" / "fruit").mkdir(parents=True)
    _write(tmp_path / "base" / "base.yaml", "fruit")
    (tmp_path / "base" / "start.pth").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "parts").mkdir()
    (tmp_path / "mine" / "x.yaml").write_text("extends: ../base/base.yaml\nmodel.weights: ../base/start.pth\n")
    (tmp_path / "mine" / "y.yaml").write_text("extends: x.yaml\ntasks.a.data.path: parts\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert _path("../mine/x.yaml") == str(tmp_path / "base" / "fruit")
    assert load_experiment("../mine/x.yaml").model.weights == str(tmp_path / "base" / "start.pth")
    assert _path("../mine/y.yaml") == str(tmp_path / "mine" / "parts")


def test_of_several_files_that_are_extended_the_later_go_over_the_earlier(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text("epochs: 1\ntasks.det.epochs: 2\nname: short\n")
    (tmp_path / "small.yaml").write_text("epochs: 7\nimage_size: 64\n")
    (tmp_path / "mine.yaml").write_text("extends: [quickstart, short.yaml, small.yaml]\nseeds: [5]\n")
    found = load_experiment(str(tmp_path / "mine.yaml"))
    assert (found.name, found.epochs, found.image_size, found.seeds) == ("mine", 7, 64, (5,))
    assert {task.name: task.epochs for task in found.tasks}["det"] == 2
    assert found.model == load_experiment("quickstart").model


def _results(results: Path, folder: str, file: str, **more: object) -> None:
    settings = json.loads(load_experiment(file).model_dump_json())
    (results / folder).mkdir(parents=True)
    (results / folder / "plan.json").write_text(json.dumps({"settings": {**settings, **more}}))


def test_results_are_an_experiment_by_their_name(tiny: Callable[..., str], results: Path) -> None:
    file = tiny(learning_rate=1e-5)
    _results(results, "tiny", file)
    assert load_experiment("tiny") == load_experiment(file)
    _results(results, "renamed", file)
    assert load_experiment("renamed", ["epochs=9"]).name == "renamed", "what is done with it is done there"
    _results(results, "other-dev2", file, split="dev2")
    assert (load_experiment("other-dev2").name, load_experiment("other-dev2").split) == ("other", "dev2")
    _results(results, "quickstart", file)
    assert load_experiment("quickstart").tasks != load_experiment("tiny").tasks, "a preset is what it says"
    assert "did you mean 'renamed'?" in message(load_experiment, "renamd")


def test_results_that_are_none_of_an_experiment_are_told(tiny: Callable[..., str], results: Path) -> None:
    (results / "torn").mkdir(parents=True)
    (results / "torn" / "plan.json").write_text("{")
    assert f"{results}/torn/plan.json holds no settings of an experiment" in message(load_experiment, "torn")
    _results(results, "moved", tiny())
    record = json.loads((results / "moved" / "plan.json").read_text())
    (results / "moved" / "plan.json").write_text(json.dumps({**record, "other_data": {"seg": "x"}}))
    assert "the results moved are scores on other images" in message(load_experiment, "moved")
