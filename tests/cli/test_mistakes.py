"""Typical mistakes, on the command line and in Python: each is answered by one sentence that says what is meant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY, message
from synthetic import plausible

from cl_bench import cli
from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import validate

Said = Callable[..., str]

OF_THE_LINE = [
    ("quikstart", "unknown experiment 'quikstart'; did you mean 'quickstart'?"),
    ("gone.yaml", "experiment file {here}/gone.yaml does not exist"),
    ("mine", "unknown experiment 'mine'; did you mean the file mine.yaml?"),
    ("quickstart --strategies nave", "unknown strategy 'nave'; did you mean 'naive'?"),
    ("quickstart --strategies kd[wieght=5]", "unknown setting 'wieght'; did you mean 'weight'?"),
    ("quickstart --strategies kd[weight=abc]", "setting weight = 'abc': Input should be a valid number"),
    ("quickstart --strategies naive kd", "separate several by commas, as in --strategies naive,kd"),
    ("--strategies naive kd quickstart", "separate several by commas, as in --strategies naive,kd"),
    ("quickstart --strategies kd,kd[weight=0.30]", "strategies kd and kd[weight=0.30] are the same: name one of them"),
    ("quickstart --seeds 0 1 2", "separate several by commas, as in --seeds 0,1,2"),
    ("quickstart --strategies ,", "--strategies ',': nothing is in it"),
    ("quickstart --seeds ,", "--seeds ',': nothing is in it"),
    ("quickstart --seeds zero", "--seeds takes whole numbers such as 0,1,2 or 0-4, not 'zero'"),
    ("quickstart --seeds 4-0", "a range goes from the smaller number to the larger"),
    ("quickstart --seed 3", "No such option: --seed; did you mean --seeds?"),
    ("quickstart --strategy kd", "No such option: --strategy; did you mean --strategies?"),
    ("quickstart --orders seg,det,cls", "3 orders of one task each; did you mean one order of them, seg-det-cls?"),
    ("quickstart --orders seg|det|cls", "has blanks between its tasks; did you mean one order of them, seg-det-cls?"),
    ("quickstart --orders seg-dett", "unknown task 'dett'; did you mean 'det'? (in orders)"),
    ("quickstart --split test", "--split: split: Input should be 'val', 'dev'"),
    ("quickstart --set lr=0.01", "--set: unknown key 'lr'; did you mean 'learning_rate'?"),
    ("quickstart --set wd=0.01", "did you mean 'weight_decay'?"),
    ("quickstart --set bs=8", "did you mean 'batch_size'?"),
    ("quickstart --set tasks.det.imgsz=64", "--set: unknown key 'imgsz'; did you mean 'image_size'?"),
    ("quickstart --set backbone=resnet18", "did you mean 'model.backbone'?"),
    ("quickstart --set epoch=1", "--set: unknown key 'epoch'; did you mean 'epochs'?"),
    ("quickstart --set epochs=many", "--set: epochs: Input should be a valid integer"),
    ("quickstart --set epochs 3", "--set takes KEY=VALUE, as in --set epochs=3"),
    ("quickstart --set epochs=3 threads=1", "--set epochs=3 --set threads=1"),
    ("quickstart --set tasks.dett.epochs=3", "unknown task 'dett'; did you mean 'det'?"),
    ("quickstart --device cuda:1", "No such option: --device; settings are changed by --set device=cuda:1"),
    ("quickstart --lr=0.1", "No such option: --lr; settings are changed by --set learning_rate=0.1"),
    ("quickstart --workers 4", "-j N trains N stages side by side"),
    ("quickstart --resume", "the same command again goes on where it stopped"),
    ("quickstart --sweep lr=1,2", "did you mean 'learning_rate'?"),
    ("quickstart --budget soon", "--budget takes a time such as 2h, 1h30m or 90s, not 'soon'"),
    ("quickstart --why", "--why explains a --dry-run"),
    ("quickstart --plugin gone.py", "plugin file {here}/gone.py does not exist"),
    ("quickstart --add", "{here}/results/quickstart holds no results to add to"),
    ("quickstart --set", "Option '--set' requires an argument"),
    ("quickstart --set augment=3", "--set: augment: Input should be a mapping of settings, not 3"),
    ("quickstart --set tasks=[3]", "tasks.0: Input should be a mapping of settings, not 3"),
    ("quickstart --set model.backbone=RESNET18", "unknown backbone 'RESNET18'; did you mean 'resnet18'?"),
    ("quickstart --set model.backbone=local-dir:x", "the nearest: "),
    ("quickstart --set model.backbone=resnet19", "unknown backbone 'resnet19'; did you mean"),
]
"""Words behind `cl-bench run` ("|" for a blank inside one), and what is said of them."""

OF_COMMANDS = [
    ("runn quickstart", "No such command 'runn'. Did you mean 'run'?"),
    ("train quickstart", "No such command 'train'. Did you mean 'run'?"),
    ("list stategies", "'stategies' is not one of 'strategies'"),
    ("list stategies", "did you mean 'strategies'?"),
    ("plot quickstart --what curve", "did you mean 'curves'?"),
    ("model shw quickstart", "No such command 'shw'. Did you mean 'show'?"),
    ("table quickstart", "experiment quickstart has no results in {here}/results yet: cl-bench run quickstart"),
    ("table quikstart", "unknown experiment with results 'quikstart'; known: none (in {here}/results)"),
    ("explain learning_rat", "unknown key 'learning_rat'; did you mean 'learning_rate'?"),
    ("data audit quikstart", "did you mean 'quickstart'?"),
    ("strategy check nave", "did you mean 'naive'?"),
    ("model latency a.json --threads 2", "merged as they are: of the options --output alone goes with them"),
]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Said:
    """Return a function that runs a command line that is refused, in an empty folder, and returns what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CL_BENCH_RESULTS", raising=False)
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)
    (tmp_path / "mine.yaml").touch()

    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cl-bench", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        shown = capsys.readouterr()
        assert left.value.code in (1, 2)
        assert "Traceback" not in shown.err
        assert "Value error" not in shown.err
        return " ".join((shown.out + shown.err).split())

    return call


@pytest.mark.parametrize(("line", "expected"), OF_THE_LINE, ids=[line for line, _ in OF_THE_LINE])
def test_a_mistake_in_what_is_to_be_run(said: Said, tmp_path: Path, line: str, expected: str) -> None:
    words = [word.replace("|", " ") for word in line.split()]
    assert expected.format(here=tmp_path) in said("run", *words)
    assert not list(tmp_path.rglob("stage.json"))


@pytest.mark.parametrize(("line", "expected"), OF_COMMANDS, ids=[line for line, _ in OF_COMMANDS])
def test_a_mistake_in_another_command(said: Said, tmp_path: Path, line: str, expected: str) -> None:
    assert expected.format(here=tmp_path) in said(*line.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("table FOLDER --strategies foo", "--strategies and --orders choose among runs, and there are baselines alone"),
        ("table FOLDER --orders foo", "--strategies and --orders choose among runs, and there are baselines alone"),
        ("table FOLDER --long", "--long is for the table of drops"),
        ("table FOLDER --costs", "--costs is for the table of drops"),
        ("plot FOLDER --what matrix", "matrix is about strategies, and there are baselines alone"),
    ],
)
def test_what_baselines_alone_have_not(said: Said, tmp_path: Path, line: str, expected: str) -> None:
    folder = plausible(tmp_path, strategies=()).write()
    assert expected in said(*line.replace("FOLDER", str(folder)).split())


def _task(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "kind": "classification", "data": {"format": "scenes"}, **changes}


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (_task(kind="classify"), "task a: unknown kind 'classify'; did you mean 'classification'?"),
        (_task(data={"format": "coc"}), "unknown data format 'coc'; did you mean 'coco'?"),
        (_task(data={"format": "coco", "path": "."}), "task a: data format coco has no classification data"),
        (_task(data={"format": "image_folder", "path": "nowhere"}), "task a: {here}/nowhere does not exist"),
        (_task(predictor="fast"), "task a: unknown predictor 'fast'"),
        (_task(settings={"smoothing": 1}), "task a: unknown key 'smoothing'"),
    ],
)
def test_what_a_look_at_a_task_tells_is_told_before_weights_are_fetched(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: dict[str, Any], expected: str
) -> None:
    def fetch(*_: Any) -> None:
        raise AssertionError("weights are fetched")

    monkeypatch.setattr("cl_bench.runner.prepare.load_weights", fetch)
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({"tasks": [task]}))
    assert expected.format(here=tmp_path) in said("run", "wrong.yaml")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lr": 0.1}, "tiny: unknown key 'lr'; did you mean 'learning_rate'?"),
        ({"flip": True}, "tiny: unknown key 'flip'; did you mean 'augment.flip'?"),
        ({"kind": "detection"}, "tiny: unknown key 'kind'; did you mean 'tasks.NAME.kind'?"),
        ({"seeds": 3}, "tiny: seeds: Input should be a list, not 3"),
        ({"strategies": "naive"}, "tiny: strategies: Input should be a list, not 'naive'"),
        ({"orders": ["seg", "det"]}, "2 orders of one task each; did you mean one order of them, seg-det?"),
        ({"orders": "seg,det,cls"}, "3 orders of one task each"),
        ({"tasks": [{**TINY["tasks"][0], "path": "x"}]}, "unknown key 'path'; did you mean 'data.path'?"),  # type: ignore[index]
        ({"split": "test"}, "tiny: split: Input should be 'val', 'dev'"),
    ],
)
def test_a_mistake_in_python(changes: dict[str, Any], expected: str) -> None:
    assert expected in message(validate, {**deepcopy(TINY), **changes}, "tiny")


def test_a_mistake_in_changes_names_them_and_not_the_file() -> None:
    assert message(load_experiment, "quickstart", {"lr": 1}).startswith("changes: unknown key 'lr'")
    assert message(load_experiment, "quickstart", ["lr=1"]).startswith("--set: unknown key 'lr'")
