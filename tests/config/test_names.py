"""Presets that were renamed: both names mean one experiment, whose results and stages stay where they were."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import message

import cl_bench
from cl_bench import cli
from cl_bench.cli.app import results_folder
from cl_bench.config.names import KEPT_AS, both_names
from cl_bench.config.presets import load_experiment, presets
from cl_bench.runner.prepare import prepare

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
