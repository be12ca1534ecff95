import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cl_bench.api.results import load_results
from cl_bench.api.run import run
from cl_bench.cli import scores as commands
from cl_bench.data.formats import scenes
from cl_bench.errors import UserError
from cl_bench.results.export import export
from cl_bench.results.plan_file import read_plan
from cl_bench.results.rows import read_results
from cl_bench.results.store.scores import Score, Scores
from cl_bench.results.summary import baselines, summary
from cl_bench.runner.lock import exclusive_plan
from cl_bench.runner.plan_record import describe_plan
from cl_bench.runner.prepare import prepare
from cl_bench.runner.rescore import rescore, verify
from cl_bench.runner.run import train as train_missing
from cl_bench.stages.scoring import Scorer
from cl_bench.stages.trainer import Trainer

LAYOUT = {"seg": ("segmentation", "voc"), "cls": ("classification", "image_folder")}


@pytest.fixture
def results_root(results: Path) -> Path:
    """The results folder, under a name that the module `results` leaves free."""
    return results


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that puts train, val and, from other digits, a test part of each task on the disk."""

    def write(test: bool = True, seed: int = 1, name: str = "data", train: int = 12) -> Path:
        for task, (kind, _) in LAYOUT.items():
            made, other = (
                scenes.generate(scenes.parse({"train": train, "val": 10, "size": 64, "seed": number}), kind)
                for number in (0, seed)
            )
            shutil.copytree(made, tmp_path / name / task)
            if test:
                shutil.copytree(other / "val", tmp_path / name / task / "test")
        return tmp_path / name

    return write


@pytest.fixture
def written(tiny: Callable[..., str]) -> Callable[..., str]:
    """Return a function that writes an experiment of the data in a folder, seg then cls."""

    def write(folder: Path, **changes: Any) -> str:
        tasks = [
            {
                "name": task,
                "kind": kind,
                "data": {"format": format, "path": str(folder / task)},
                "classes": (["background"] if task == "seg" else []) + list(scenes.DIGITS),
            }
            for task, (kind, format) in LAYOUT.items()
        ]
        return tiny(**{"tasks": tasks, "epochs": 1, "orders": [["seg", "cls"]], **changes})

    return write


@pytest.fixture
def never_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a training is an error."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a stage was trained again")

    monkeypatch.setattr(Trainer, "train", refuse)


def scored(rows: pd.DataFrame) -> set[tuple[str, str]]:
    """The (stage, task) that have a score on a test part."""
    done = rows[(rows["split"] == "test") & (rows["status"] == "done")]
    return set(zip(done["stage"], done["task"], strict=True))


def test_a_run_scores_every_stage_end_on_test_and_the_verdict_is_of_it(written, data, results_root) -> None:
    rows = run(written(data()))
    results = read_results(results_root / "tiny")
    test, val = (rows[rows["split"] == split] for split in ("test", "val"))
    assert len(test) == len(val[val["last"]])
    assert test["last"].all()
    assert (test["status"] == "done").all()
    assert results.of().split == "test"
    ends = test[(test["strategy"] == "naive") & (test["metric"] == "mIoU")].sort_values("position")
    assert summary(results).set_index("task").loc["seg", "final"] == ends["value"].iloc[-1]
    of_val = summary(results.of("val")).set_index("task").loc["seg", "final"]
    assert of_val == val[(val["strategy"] == "naive") & (val["metric"] == "mIoU")].sort_values("step")["value"].iloc[-1]
    assert set(baselines(results).set_index("metric")["trivial"].dropna().index) == {"mIoU", "Top-1"}


def test_a_test_part_changes_no_key_and_needs_no_training(written, data, with_stages, request, results_root) -> None:
    without = with_stages(prepare(written(data(test=False))))
    stages = {key: (without.store.folder(key) / "stage.json").read_bytes() for key in without.plan.stages}
    results = read_results(without.folder)
    assert set(results.rows["split"]) == {"val"}
    assert results.of().split == "val"

    shutil.rmtree(without.catalog[0].audit.train.examples[0].image.parents[2])
    request.getfixturevalue("never_trained")
    now = prepare(written(data()))
    assert list(now.plan.stages) == list(stages)
    assert not now.missing()
    assert len(now.unscored()) == 3
    assert train_missing(now) == {}
    assert {key: (now.store.folder(key) / "stage.json").read_bytes() for key in stages} == stages
    again = read_results(now.folder)
    plan = now.plan.stages
    assert scored(again.rows) == {(key, task) for key in stages for task in plan[key].past + plan[key].trained}
    pd.testing.assert_frame_equal(again.curves.reset_index(drop=True), results.rows)

    other = prepare(written(data(seed=2, name="other")))
    assert list(other.plan.stages) == list(stages)
    assert len(other.unscored()) == 3


def test_what_was_scored_after_training_is_what_is_scored_in_it(written, data, results_root) -> None:
    experiment = written(data())
    in_training = run(experiment)
    prepared = prepare(experiment)
    shutil.rmtree(Scores(prepared.store.root).root)
    assert train_missing(prepared) == {}
    pd.testing.assert_frame_equal(load_results(prepared.folder), in_training)
    assert verify(prepared.folder) == []


def test_rescore_scores_what_is_stored_and_keeps_the_rest(written, data, with_stages, request, results_root) -> None:
    prepared = with_stages(prepare(written(data(test=False))))
    first, second = prepared.plan.runs[0].stages
    (alone,) = set(prepared.plan.stages) - {first, second}
    shutil.rmtree(prepared.store.folder(alone))
    for task in LAYOUT:
        made = scenes.generate(scenes.parse({"train": 12, "val": 10, "size": 64, "seed": 1}), LAYOUT[task][0])
        shutil.copytree(made / "val", Path(prepared.experiment.tasks[list(LAYOUT).index(task)].data["path"]) / "test")
    request.getfixturevalue("never_trained")
    found = rescore(prepared.folder)
    assert (found.scored, found.lost) == (2, [alone])
    results = read_results(prepared.folder)
    assert scored(results.rows) == {(first, "seg"), (second, "seg"), (second, "cls")}
    assert (results.curves["status"] == "done").all()
    table = summary(results).set_index("task")
    assert table["status"].to_dict() == {"seg": "done", "cls": "unscored"}
    assert table.loc["cls", "verdict"] == ""
    assert rescore(prepared.folder).scored == 0


def test_nobody_plans_other_runs_while_a_rescore_is_at_it(written, data, with_stages, results_root) -> None:
    path = written(data())
    prepared = with_stages(prepare(path))
    export(prepared.folder)
    shutil.rmtree(prepared.store.root / ".scores")
    more = describe_plan(prepare(path, strategies=["naive", "kd"]), "")
    refused: list[str] = []

    def other(_: str) -> None:
        with pytest.raises(UserError, match="another command is running tiny"), exclusive_plan(prepared.folder, more):
            pass
        refused.append("once")

    assert rescore(prepared.folder, tell=other).scored == len(refused) > 0


def test_another_training_of_a_stored_stage_leaves_its_scores(written, data, with_stages, results_root, monkeypatch):
    prepared = with_stages(prepare(written(data())))
    key = prepared.plan.runs[0].stages[0]
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
    kept = prepared.store.describe(key)
    scored_again: list[str] = []
    monkeypatch.setattr(Scorer, "score", lambda _self, key, *_: scored_again.append(key))
    trainer.train(prepared.plan, [key])
    assert scored_again == []
    assert prepared.store.describe(key) == kept


def test_other_images_get_results_of_their_own(written, data, with_stages, results_root) -> None:
    rows = load_results(with_stages(prepare(written(data()))).folder)
    folder, others = results_root / "tiny", data(seed=3, name="others")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    found = rescore(folder, {"seg": str(others / "seg"), "cls": str(others / "cls")}, name="elsewhere")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    there = load_results(found.folder)
    assert found.folder.name == "elsewhere"
    assert read_plan(found.folder).experiment == "elsewhere"
    assert scored(there) == scored(rows)
    one, other = (frame[frame["split"] == "test"]["value"].to_numpy() for frame in (rows, there))
    assert not np.array_equal(one, other)
    with pytest.raises(UserError, match="elsewhere is there already"):
        rescore(folder, {"seg": str(others / "seg")}, name="elsewhere")
    with pytest.raises(UserError, match="unknown task 'sge'; did you mean 'seg'"):
        rescore(folder, {"sge": str(others / "seg")})


def test_results_of_other_images_are_named_like_an_experiment_and_made_once_more_where_they_were_cut_off(
    written, data, with_stages, monkeypatch, results_root
) -> None:
    with_stages(prepare(written(data())))
    folder, others = results_root / "tiny", data(seed=3, name="others")
    for name in ("../out", "a b", "stages", "x/y", "-"):
        with pytest.raises(UserError, match="is no name for these results"):
            rescore(folder, {"seg": str(others / "seg")}, name=name)

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", cut)
        with pytest.raises(KeyboardInterrupt):
            rescore(folder, {"seg": str(others / "seg")}, name="other")
    assert rescore(folder, {"seg": str(others / "seg")}, name="other").scored == 2


ADDING = """
import torch
from avalanche.core import SupervisedPlugin
from cl_bench.plugins.registry import strategy

class Adder(SupervisedPlugin):
    acts_from = 1

    def before_training_exp(self, strategy, **_):
        if not hasattr(strategy.model, "extra"):
            strategy.model.extra = torch.nn.Linear(3, 3)

@strategy("adder", summary="adds parameters", neutral={})
def adder() -> list[SupervisedPlugin]:
    return [Adder()]
"""


def test_a_stage_that_only_itself_can_score_keeps_no_other_from_being_scored(
    written, data, tmp_path, results_root
) -> None:
    (tmp_path / "adder.py").write_text(ADDING)
    run(written(data(), strategies=["adder"]), plugin_files=[tmp_path / "adder.py"])
    folder = results_root / "tiny"
    shutil.rmtree(results_root / "stages" / ".scores")
    said: list[str] = []
    assert rescore(folder, tell=said.append).scored == 2  # the baselines
    assert sum("only the stage itself can score it" in sentence for sentence in said) == 2
    assert len([one for one in verify(folder) if "only the stage itself can score it" in one]) == 2


def test_without_a_test_part_or_a_store_rescore_says_so(written, data, with_stages, results_root) -> None:
    prepared = with_stages(prepare(written(data(test=False))))
    with pytest.raises(UserError, match="no task of tiny has a test part"):
        rescore(prepared.folder)
    shutil.rmtree(prepared.store.root)
    with pytest.raises(UserError, match="no stage of tiny is in the store"):
        verify(prepared.folder)


def test_dev_never_sees_the_test_part(written, data, results_root) -> None:
    prepared = prepare(written(data(train=40)), split="dev")
    assert [entry.audit.test for entry in prepared.catalog] == [None, None]
    assert not prepared.unscored()


def score(value: float = 0.5) -> Score:
    return Score("seg", ["a", "b"], {"mIoU": value}, 3, 0.01, np.full(4, value, np.float32), np.array([0.4, np.nan]))


def test_a_score_comes_back_whole_or_not_at_all(tmp_path: Path) -> None:
    scores = Scores(tmp_path)
    assert scores.get("key", "one") is None
    scores.add("key", "one", score(1 / 3), {"confusion": np.arange(4)})
    found = scores.get("key", "one")
    assert found is not None
    assert found.values == {"mIoU": 1 / 3}
    assert found.images == 3
    assert found.excess == 0.01
    np.testing.assert_array_equal(found.per_class, [0.4, np.nan])
    np.testing.assert_array_equal(found.resampled, np.full(4, 1 / 3, np.float32))
    assert scores.get("key", "two") is None
    assert scores.get("other", "one") is None
    path = scores.path("key", "one")
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:-9] + b"\x00" * 9, b"", whole.replace(b"0.33333333", b"0.93333333")):
        path.write_bytes(content)
        assert scores.get("key", "one") is None
    path.write_bytes(whole)
    assert scores.get("key", "one") is not None


def test_a_damaged_score_is_made_anew_by_the_next_run(written, data, with_stages, request, results_root) -> None:
    experiment = written(data())
    prepared = with_stages(prepare(experiment))
    before = load_results(prepared.folder)
    path = next(path for path in Scores(prepared.store.root).root.glob("*/*.safetensors") if len(path.stem) == 16)
    path.write_bytes(path.read_bytes()[:-3])
    assert len(prepare(experiment).unscored()) == 1
    request.getfixturevalue("never_trained")
    pd.testing.assert_frame_equal(run(experiment), before)


def test_a_scoring_that_fails_is_told_and_keeps_nothing_from_being_trained(
    written, data, monkeypatch, results_root
) -> None:
    prepared = prepare(written(data()))

    def full(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Scorer, "score", full)
    for _ in range(2):  # in training, and of what is stored
        failures = train_missing(prepared)
        assert failures.keys() == prepared.plan.stages.keys()
        assert all("the disk is full" in failure.reason for failure in failures.values())
        assert not prepared.missing()
    results = read_results(prepared.folder)
    rows = results.rows
    assert (results.curves["status"] == "done").all()
    assert set(rows[rows["split"] == "test"]["status"]) == {"unscored"}
    monkeypatch.undo()
    monkeypatch.setenv("CL_BENCH_RESULTS", str(results_root))
    assert train_missing(prepared) == {}
    assert not prepared.unscored()


def test_older_plans_and_rows_are_of_val(written, data, with_stages, results_root) -> None:
    prepared = with_stages(prepare(written(data(test=False))))
    path = prepared.folder / "rows.csv"
    rows = pd.read_csv(path, dtype=str).drop(columns=["split", "data"])
    rows.to_csv(path, index=False)
    shutil.rmtree(prepared.store.root)
    assert set(load_results(prepared.folder)["split"]) == {"val"}
    assert json.loads((prepared.folder / "plan.json").read_text())["tasks"][0].get("test") is None


def test_the_commands_say_what_they_did(written, data, with_stages, results_root, capsys) -> None:
    with_stages(prepare(written(data(), seeds=[0, 1])))
    commands.rescore("tiny", split=commands.Scored.val)
    assert "every stored score comes out the same, bit for bit" in capsys.readouterr().out
    commands.rescore("tiny")
    assert f"0 stages were scored; results: {results_root / 'tiny'}" in capsys.readouterr().out
    commands.power("tiny")
    assert "Verdicts are of the test part: seg 10 and cls 10 images." in " ".join(capsys.readouterr().out.split())
    for wrong, said in ((["seg"], "TASK=FOLDER, not 'seg'"), (["seg=a", "seg=b"], "task seg twice")):
        with pytest.raises(UserError, match=said):
            commands.rescore("tiny", data=wrong)
    with pytest.raises(UserError, match="--name is of the results that --data makes"):
        commands.rescore("tiny", name="other")
