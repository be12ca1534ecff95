"""Bad input: one clear sentence that names the culprit, exit code 2, nothing half-written."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import TINY
from PIL import Image

from cl_bench import cli


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path) -> Callable[..., str]:
    """Return a function that runs a command which must be refused, and returns the sentence."""

    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cl-bench", "run", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        shown = capsys.readouterr().err.strip()
        assert left.value.code == 2, shown
        assert shown.startswith("error: ")
        assert "\n" not in shown
        assert "Traceback" not in shown
        if results.is_dir():
            assert [path for path in results.rglob("*") if path.is_file()] == []
        return shown

    return call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "epohcs=3"], "did you mean 'epochs'"),
        (["--set", "tasks.seg.epohcs=3"], "did you mean 'epochs'"),
        (["--set", "model.bakbone=x"], "did you mean 'backbone'"),
        (["--set", "tasks.sge.epochs=3"], "did you mean 'seg'"),
        (["--set", "epochs"], "key=value"),
        (["--set", "name=2001-99-99"], "not a YAML value"),
        (["--strategies", "kd[weight=2001-99-99]"], "not a value of a setting"),
        (["--set", "threads=100000000000"], "threads"),
        (["--set", "epochs=many"], "epochs"),
        (["--set", "learning_rate=.inf"], "learning_rate"),
        (["--set", "image_size=100"], "image_size"),
        (["--set", "device=cuda"], "device 'cuda'"),
        (["--set", "precision=float16"], "precision float16"),
        (["--set", "model.backbone=efficientnet_b00"], "did you mean 'efficientnet_b0'"),
        (["--set", "model.weights=bundled"], "bundled weights are those of tf_efficientnet_lite0"),
        (["--set", "model.weights=missing.pth"], "missing.pth does not exist"),
        (["--set", "tasks.seg.kind=segmentaton"], "did you mean 'segmentation'"),
        (["--set", "tasks.seg.data.format=scene"], "did you mean 'scenes'"),
        (["--set", "tasks.det.predictor=litteral"], "did you mean 'literal'"),
        (["--set", "tasks.det.data={format: voc, path: x}"], "no detection data"),
        (["--set", "tasks.det.data={format: coco, path: nowhere}"], "nowhere"),
        (["--set", "tasks.det.data={format: scenes, trian: 3}"], "did you mean 'train'"),
        (["--set", "tasks.det.level=8"], "did you mean 'levels'"),
        (["--set", "tasks.det.settings.asignment=centre"], "unknown key 'asignment'; did you mean 'assignment'"),
        (["--set", "tasks.det.settings.box=iou"], "task det: box: Input should be 'giou', 'diou' or 'ciou'"),
        (["--set", "tasks.det.settings.assignment=task_aligned"], "task det: assignment task_aligned needs confidence"),
        (["--set", "tasks.seg.settings.iou_weight=-1"], "task seg: iou_weight"),
        (["--set", "augment.zoom=2"], "augment.zoom"),
        (["--set", "augment.mosaic=0.5"], "task cls: a mosaic of four images has no one label"),
        (["--split", "test"], "split: Input should be 'val', 'dev', 'dev1', 'dev2' or 'dev3'"),
        (["--strategies", "kdd"], "did you mean 'kd'"),
        (["--strategies", "kd[temprature=3]"], "did you mean 'temperature'"),
        (["--strategies", "kd[temperature=warm]"], "temperature"),
        (["--strategies", "replay[memory=-1]"], "memory"),
        (["--strategies", "kd[temperature=0]"], "temperature"),
        (["--strategies", "kd replay"], "kd replay"),
        (["--strategies", "avalanche.training.plugins.EWCPlugn"], "did you mean 'EWCPlugin'"),
        (["--strategies", "naive,avalanche.training.plugins.BiCPlugin"], "BiCPlugin cannot be used here: it corrects"),
        (["--strategies", f"kd[weight={'[' * 600}]"], "is not a value"),
        (["--set", f"epochs={'[' * 600}"], "is not a YAML value"),
        (["--set", "image_size=100000"], "image_size: Input should be less than or equal to 4096"),
        (["--set", "name=stages"], "name: 'stages' is a folder of the results"),
        (["--address", "auto"], "needs --executor ray"),
        (["--why"], "--why explains a --dry-run"),
        (["--orders", "seg-dat"], "did you mean 'det'"),
        (["--seeds", "one"], "--seeds"),
        (["--seeds=-1"], "seeds"),
        (["--plugin", "nothing.py"], "nothing.py does not exist"),
    ],
)
def test_settings_that_make_no_sense(
    refused: Callable[..., str], tiny: Callable[..., str], words: list[str], said: str
) -> None:
    assert said in refused(tiny(), *words)


def test_files_that_are_no_experiment(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "did you mean 'quickstart'" in refused("quickstrat")
    assert "unknown experiment '.'; known: " in refused(".")
    file = tmp_path / "bad.yaml"
    mark = tmp_path / "ran"
    tag = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]"
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    bomb = "\n".join(["a0: &a0 [x, x]", *lines])
    for content in ("- a list", "a: [", tag, "", bomb, "a: &a [*a]", "[" * 600, "{a: " * 50 + "1" + "}" * 50):
        file.write_text(content)
        assert "bad.yaml" in refused(str(file))
    assert not mark.exists()
    content = copy.deepcopy(TINY)
    content["tasks"][1]["name"] = "seg"  # type: ignore[index]
    file.write_text(yaml.safe_dump(content))
    assert "share a name" in refused(str(file))


def test_a_class_that_is_no_plugin_is_never_made(refused: Callable[..., str], tiny: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    sentence = refused(tiny(), "--dry-run", "--strategies", f"subprocess.Popen[args=touch {mark},shell=true]")
    assert "subprocess.Popen is not one of Avalanche's plug-ins" in sentence
    assert not mark.exists()


def test_a_plugin_file_with_an_error_is_named(refused: Callable[..., str], tiny: Any, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("def (")
    assert "broken.py failed to import: SyntaxError" in refused(tiny(), "--plugin", str(file))


def test_pickled_weights_are_refused_and_not_run(refused: Callable[..., str], tiny: Any, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap()))
    torch.save({"trap": Trap()}, tmp_path / "zipped.pth")
    for name in ("trap.pth", "zipped.pth"):
        assert name in refused(tiny(), "--set", f"model.weights={tmp_path / name}")
    assert not (tmp_path / "ran").exists()


def test_results_that_cannot_be_written(
    refused: Callable[..., str], tiny: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "file"))
    assert "cannot write to" in refused(tiny())


def test_real_data_that_is_not_there(refused: Callable[..., str], monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("CL_BENCH_DATA", str(tmp_path / "none"))
    sentence = refused("unified_onehead_lite")
    assert "mini_voc_seg" in sentence
    assert "cl-bench data prepare" in sentence


def write_voc(folder: Path) -> None:
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        for index in range(4):
            noise = np.random.default_rng([index, len(split)]).integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(noise).save(folder / split / f"image{index}.jpg")
            mask = np.full((40, 50), index % 2, np.uint8)
            Image.fromarray(mask).save(folder / split / f"image{index}.png")


def save_mask(path: Path, mask: np.ndarray) -> None:
    Image.fromarray(mask.astype(np.uint8)).save(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: save_mask(d / "train/image1.png", np.full((40, 50), 77)), ("image1.png", "77")),
        (lambda d: save_mask(d / "train/image1.png", np.ones((20, 50))), ("image1.png", "pixels")),
        (lambda d: (d / "train/image1.png").unlink(), ("image1",)),
        (lambda d: (d / "val/image2.jpg").write_bytes((d / "val/image2.jpg").read_bytes()[:400]), ("image2.jpg",)),
        (lambda d: (d / "train/image2.jpg").write_text("no image"), ("image2.jpg",)),
        (lambda d: [save_mask(d / f"train/image{i}.png", np.zeros((40, 50))) for i in range(4)], ("'one'",)),
    ],
)
def test_spoilt_segmentation_data(
    refused: Callable[..., str], tiny: Any, tmp_path: Path, spoil: Callable[[Path], Any], said: tuple[str, ...]
) -> None:
    write_voc(tmp_path / "voc")
    spoil(tmp_path / "voc")
    task = {"name": "seg", "kind": "segmentation", "data": {"format": "voc", "path": str(tmp_path / "voc")}}
    sentence = refused(tiny(tasks=[{**task, "classes": ["zero", "one"]}]))
    assert all(part in sentence for part in said), sentence


def coco() -> dict[str, Any]:
    box = {"id": 1, "image_id": 1, "category_id": 5, "bbox": [2.0, 2.0, 20.0, 20.0], "area": 400, "iscrowd": 0}
    other = {**box, "id": 2, "category_id": 7}
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}],
        "categories": [{"id": 5, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [box, other],
    }


def with_box(box: list[float]) -> str:
    content = coco()
    content["annotations"][0]["bbox"] = box
    return json.dumps(content)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("", "labels.json"),
        ("{}", "labels.json"),
        (json.dumps({**coco(), "images": []}), "labels.json"),
        (json.dumps({**coco(), "categories": [{"id": 5, "name": "cat"}]}), "dog"),
        (json.dumps(coco()).replace('"category_id": 7', '"category_id": 99'), "99"),
        (
            json.dumps(coco()).replace('"category_id": 7', '"category_id": [7]'),
            "annotation 2 of image a: category_id must be",
        ),
        (json.dumps(coco()).replace('"image_id": 1', '"image_id": 8'), "8"),
        (with_box([float("nan"), 2, 20, 20]), "labels.json"),
        (with_box([2, 2, 0, 20]), "class 'cat' of task det has no example in train"),
        (json.dumps(coco()).replace("a.jpg", "gone.jpg"), "gone.jpg"),
    ],
)
def test_spoilt_detection_data(refused: Callable[..., str], tiny: Any, tmp_path: Path, labels: str, said: str) -> None:
    for split in ("train", "val"):
        (tmp_path / "coco" / split / "data").mkdir(parents=True)
        noise = np.random.default_rng(len(split)).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "coco" / split / "data" / "a.jpg")
        (tmp_path / "coco" / split / "labels.json").write_text(json.dumps(coco()))
    (tmp_path / "coco" / "train" / "labels.json").write_text(labels)
    task = {"name": "det", "kind": "detection", "data": {"format": "coco", "path": str(tmp_path / "coco")}}
    sentence = refused(tiny(tasks=[{**task, "classes": ["cat", "dog"]}]))
    assert said in sentence, sentence


def test_a_class_without_images(refused: Callable[..., str], tiny: Any, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "folders" / split / name).mkdir(parents=True)
            noise = np.random.default_rng([len(split), len(name), ord(name[0])]).integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "folders" / split / name / "a.png")
    (tmp_path / "folders" / "train" / "dog" / "a.png").unlink()
    data = {"format": "image_folder", "path": str(tmp_path / "folders")}
    assert "dog" in refused(tiny(tasks=[{"name": "cls", "kind": "classification", "data": data}]))
