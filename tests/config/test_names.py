"""Presets and keys that were renamed: both names mean one thing, and results and stages stay where they were."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import message

import cl_bench
from cl_bench import cli
from cl_bench.cli.app import results_folder
from cl_bench.config.names import KEPT_AS, both_names
from cl_bench.config.presets import load_experiment, presets
from cl_bench.errors import RenamedWarning
from cl_bench.runner.prepare import prepare

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_preset_keeps_its_results_under_its_first_name() -> None:
    kept = {name: load_experiment(name).name for name in presets()}
    assert kept == {name: KEPT_AS.get(name, name) for name in presets()}
    assert KEPT_AS.keys() <= presets().keys()
    assert not presets().keys() & set(KEPT_AS.values())


@pytest.mark.parametrize("name", KEPT_AS)
def test_both_names_are_one_experiment(name: str, tmp_path: Path) -> None:
    assert load_experiment(name) == load_experiment(KEPT_AS[name])
    (tmp_path / "mine.yaml").write_text(f"extends: {KEPT_AS[name]}\n")
    assert load_experiment(str(tmp_path / "mine.yaml")).tasks == load_experiment(name).tasks


def test_both_names_plan_the_same_stages(results: Path) -> None:
    asked = {"strategies": ["naive", "kd"], "seeds": [0], "changes": {"model.weights": "none"}}
    plans = [prepare(name, **asked).plan for name in ("zoo", "all-strategies")]
    assert list(plans[0].stages) == list(plans[1].stages)


def test_both_names_find_the_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CL_BENCH_RESULTS", str(ROOT / "results"))
    for name in ("zoo", "all-strategies"):
        assert results_folder(name) == ROOT / "results" / "zoo"
        assert cl_bench.load_results(name).folder == ROOT / "results" / "zoo"
    assert "did you mean 'all-strategies'? (in" in message(cl_bench.load_results, "all-strategie")
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path))
    for name in ("zoo", "all-strategies"):
        expected = f"experiment zoo has no results in {tmp_path} yet: cl-bench run {name}"
        assert message(results_folder, name) == expected


def test_results_of_ones_own_under_a_new_name_come_first(results: Path) -> None:
    for name in ("zoo", "all-strategies"):
        (results / name).mkdir(parents=True)
        (results / name / "plan.json").touch()
    assert results_folder("all-strategies") == results / "all-strategies"


def test_hints_and_completion_know_both_names() -> None:
    assert (
        message(load_experiment, "all-strategie")
        == "unknown experiment 'all-strategie'; did you mean 'all-strategies'?"
    )
    assert message(load_experiment, "zooo") == "unknown experiment 'zooo'; did you mean 'zoo'?"
    assert both_names(["zoo", "mine"]) == ["all-strategies", "mine", "zoo"]


def test_the_list_tells_the_first_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["cl-bench", "list", "experiments"])
    with pytest.raises(SystemExit):
        cli.main()
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert shown.keys() == presets().keys()
    assert shown["all-strategies"].endswith(" (also: zoo)")
    assert "also" not in shown["quickstart"]


def test_a_key_of_before_is_understood_with_a_note(tiny: Callable[..., str]) -> None:
    with pytest.warns(RenamedWarning, match="^streams of task cls is called randomness now$"):
        found = load_experiment(tiny(), ["tasks.cls.streams=seg"])
    assert found == load_experiment(tiny(), ["tasks.cls.randomness=seg"])
    assert found.tasks[2].randomness == "seg"
    both = ["tasks.cls.streams=seg", "tasks.cls.randomness=seg"]
    with pytest.warns(RenamedWarning):
        assert "streams is what randomness was called before, and both are set" in message(
            load_experiment, tiny(), both
        )


def test_a_key_of_before_trains_the_same_stages(tiny: Callable[..., str], results: Path) -> None:
    with pytest.warns(RenamedWarning):
        before = prepare(tiny(), changes={"tasks.cls.streams": "seg"}).plan
    assert list(before.stages) == list(prepare(tiny(), changes={"tasks.cls.randomness": "seg"}).plan.stages)


def test_results_of_before_are_read_without_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    committed = json.loads((ROOT / "results" / "baselines_ablation_det-dev" / "plan.json").read_text())
    assert {task["streams"] for task in committed["settings"]["tasks"]} == {"det"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plan.json").write_text(json.dumps(committed))
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {task.randomness for task in load_experiment("mine").tasks} == {"det"}


def test_the_command_says_it_in_a_sentence(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cl-bench", "run", tiny(), "--strategies", "consolidate[labels=0]", "--dry-run"]
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command replaces
    monkeypatch.setattr(sys, "argv", [*words, "--set", "tasks.cls.streams=seg"])
    with warnings.catch_warnings():
        warnings.simplefilter("default", RenamedWarning)
        with pytest.raises(SystemExit):
            cli.main()
    notes = [line for line in capsys.readouterr().err.splitlines() if "called" in line]
    assert notes == [
        "note: streams of task cls is called randomness now",
        "note: strategy 'consolidate[labels=0]': labels is called label_weight now",
    ]
