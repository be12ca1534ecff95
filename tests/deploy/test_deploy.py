"""A trained model put to use says what it said in training, whatever runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from conftest import TINY, message
from PIL import Image
from pycocotools.mask import decode

import cl_bench
from cl_bench.deploy.evaluation import compared, scores
from cl_bench.deploy.export import FORMATS, MANIFEST, compare, export
from cl_bench.deploy.predict import predict
from cl_bench.deploy.runtimes import Images, eager
from cl_bench.deploy.trained import Trained, _check_classes, load_trained
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """The tiny stream of all four kinds, learnt by one strategy and two seeds."""
    folder = tmp_path_factory.mktemp("deploy")
    keypoints = {"name": "kpt", "kind": "keypoints", "data": {"format": "cards", "train": 12, "val": 10, "size": 64}}
    path = folder / "four.yaml"
    path.write_text(yaml.safe_dump({**TINY, "name": "four", "tasks": [*TINY["tasks"], keypoints], "seeds": [0, 1]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CL_BENCH_RESULTS", str(folder / "results"))
        patch.delenv("CL_BENCH_STORE", raising=False)
        found = prepare(str(path), strategies=["naive", "joint"])
        assert train(found) == {}
        yield found


@pytest.fixture(scope="module")
def trained(prepared: Prepared) -> Trained:
    return load_trained(prepared.folder, "naive")


def predicted(trained: Trained, source: Path, output: Path) -> list[Path]:
    return list(predict(trained, source, output))


def test_a_run_s_last_model_is_loaded_and_scores_what_it_scored(prepared: Prepared, trained: Trained) -> None:
    run = prepared.plan.runs[0]
    assert trained.origin["stage"] == run.stages[-1]
    found = scores(prepared.catalog, eager(trained.deployed(), 1))
    wanted = prepared.store.scores(run.stages[-1])
    assert {(task, metric): value for task, metrics in found.items() for metric, value in metrics.items()} == (
        pytest.approx(wanted, abs=1e-6)
    )


@pytest.mark.parametrize("format", [name for name, format in FORMATS.items() if format.exact])
def test_an_export_says_what_pytorch_says_of_any_number_of_images(
    trained: Trained, tmp_path: Path, format: str
) -> None:
    pytest.importorskip({"onnx": "onnxscript", "openvino": "openvino", "torch": "torch"}[format])
    folder = export(trained, format, tmp_path / "exported")
    described = json.loads((folder / MANIFEST).read_text())
    assert [output["task"] for output in described["outputs"]] == ["seg", "det", "cls", "kpt"]
    assert all(share <= 1e-3 for share in described["difference"].values())
    forward = FORMATS[format].run(folder / described["file"], 1)
    images = np.random.default_rng(3).random((3, 3, 64, 64), np.float32)
    for one, other in zip(eager(trained.deployed(), 1)(images), forward(images), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(one).max())
    assert all(line.endswith(("(+0.00 points)", "(-0.00 points)")) for line in compared(trained, folder, format))
    scored = json.loads((folder / "model.json").read_text())["scores"]
    assert scored[format]["cls"].keys() == scored["pytorch"]["cls"].keys() == {"Top-1", "Top-5"}
    assert "is there already" in message(export, trained, format, folder)
    content = {file.name: file.read_bytes() for file in folder.iterdir()}
    for here in (Path(cl_bench.__file__).parents[1], tmp_path, Path(np.__file__).parents[1]):
        assert [name for name, found in content.items() if str(here).encode() in found] == []
    assert "command" not in described["origin"]


def weights(file: Path) -> int:
    """Bytes of a model's weights: of a network this small, the graph is as long as its weights."""
    onnx = pytest.importorskip("onnx")
    arrays = [onnx.numpy_helper.to_array(one) for one in onnx.load(str(file)).graph.initializer]
    return sum(array.nbytes for array in arrays)


def test_int8_is_near_and_its_loss_is_told(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    exact, folder = (export(trained, name, tmp_path / name) for name in ("onnx", "onnx-int8"))
    assert weights(folder / "model.onnx") < 0.35 * weights(exact / "model.onnx")
    assert max(json.loads((folder / MANIFEST).read_text())["difference"].values()) > 1e-3
    for file in (exact / "model.onnx", folder / "model.onnx"):
        graph = pytest.importorskip("onnx").load(str(file)).graph
        assert [one.type.tensor_type.shape.dim[0].dim_param for one in (*graph.input, *graph.output)] == ["batch"] * 5
    assert [line.split(":")[0] for line in compared(trained, folder, "onnx-int8")][:2] == ["seg mIoU", "det AP50"]


def test_what_is_not_what_pytorch_says_is_not_written(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cl_bench.deploy.export.TOLERANCE", -1.0)
    assert "differs from PyTorch" in message(export, trained, "torch", tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []
    assert compare(trained, eager(trained.deployed(), 1)) == dict.fromkeys(("seg", "det", "cls", "kpt"), 0.0)


def test_every_task_answers_an_image_in_its_own_frame(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)).save(folder / "wide.png")
    Image.new("L", (64, 64), 128).save(folder / "grey.jpg")
    (folder / "notes.txt").write_text("no image")
    written = predicted(trained, folder, tmp_path / "out")
    assert {file.name for file in written if file.suffix == ".png"} == {"grey.png", "wide.png"}
    files = [file for file in written if file.suffix == ".json"]
    assert [file.name for file in files] == ["grey.json", "wide.json"]
    assert Image.open(tmp_path / "out" / "wide.png").size == (90, 50)
    answers = json.loads(files[1].read_text())["answers"]
    assert list(answers) == ["seg", "det", "cls", "kpt"]
    masks = [decode(found["rle"]) for found in answers["seg"].values()]
    assert (np.sum(masks, axis=0) == 1).all(), "every pixel has one class"
    assert masks[0].shape == (50, 90)
    assert sum(found["share"] for found in answers["seg"].values()) == pytest.approx(1)
    assert answers["cls"]["class"] == max(answers["cls"]["scores"], key=answers["cls"]["scores"].get)
    assert all(0 <= x <= 90 and 0 <= y <= 50 for x, y in answers["kpt"].values())


def test_a_sure_detection_is_answered_in_pixels_of_the_image(trained: Trained) -> None:
    task = trained.model.tasks[1]
    raw = torch.zeros(1, 15, 64)
    raw[0, 4] = -50
    raw[0, 4, 0], raw[0, 5 + 3, 0] = 50, 50
    boxes, answer = task.kind.answer(task, raw, (128, 64))
    (found,) = answer
    assert found["class"] == task.classes[3]
    left, top, right, bottom = found["box"]
    plain = task.kind.decode_detections(task, raw[0])[0][0].tolist()
    assert [left, top, right, bottom] == pytest.approx([plain[0] * 2, plain[1], plain[2] * 2, plain[3]])
    assert len(boxes.xyxy) == 1


def test_which_run_is_meant_must_be_plain(prepared: Prepared, trained: Trained, tmp_path: Path) -> None:
    assert "several strategies" in message(load_trained, prepared.folder)
    assert "did you mean 'joint'?" in message(load_trained, prepared.folder, "jiont")
    assert "unknown seed '7'" in message(load_trained, prepared.folder, "naive", "", 7)
    assert "unknown order" in message(load_trained, prepared.folder, "naive", "cls-seg")
    other = load_trained(prepared.folder, "naive", "seg-det-cls-kpt", 1)
    assert other.origin["seed"] == 1
    assert other.origin["stage"] != trained.origin["stage"]
    assert "holds no image" in message(predicted, trained, tmp_path, tmp_path / "out")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert "broken.png" in message(predicted, trained, tmp_path / "broken.png", tmp_path / "out")
    Image.new("RGB", (9, 9)).save(tmp_path / "whole.png")
    said = message(predicted, trained, tmp_path, tmp_path / "out")
    assert "broken.png" in said
    assert (tmp_path / "out" / "whole.json").is_file()


def test_what_is_no_number_for_one_image_is_no_match_however_others_come_out(trained: Trained) -> None:
    plain, seen = eager(trained.deployed(), 1), []

    def forward(images: Images) -> list[npt.NDArray[np.float32]]:
        seen.append(len(images))
        return [output * (np.float32("nan") if len(images) == 1 else 1) for output in plain(images)]

    assert np.isnan(list(compare(trained, forward).values())).all()
    assert seen == [1, 3]


def test_an_answer_never_takes_the_place_of_what_lies_beside_the_image(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    Image.new("RGB", (64, 64), "red").save(path)
    before = path.read_bytes()
    for source in (path, tmp_path):
        said = message(predicted, trained, source, tmp_path)
        assert said == f"{path} is there already, beside the image: name another folder with --output"
    assert path.read_bytes() == before
    assert len(predicted(trained, path, tmp_path / "answers")) == 2
    Image.new("RGB", (64, 64), "red").save(tmp_path / "dog.jpg")
    assert len(predicted(trained, tmp_path / "dog.jpg", tmp_path)) == 2


def test_a_model_is_not_given_other_classes_than_it_learnt(trained: Trained) -> None:
    said = message(_check_classes, trained.model, [{"task": "cls", "classes": ["aardvark"]}], "four")
    assert said == "task cls of four has other classes in its data than it was trained with"
