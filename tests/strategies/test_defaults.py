"""The defaults are those that the tuning chose, by a rule that was fixed before its runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from cl_bench.config.presets import load_experiment
from cl_bench.plugins.composition import parse

ROOT = Path(__file__).parents[2]
TUNED = ROOT / "results" / "tuning-dev"


@pytest.fixture(scope="module")
def tuning() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tuning", ROOT / "benchmarks" / "tuning.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_default_is_the_value_that_was_chosen(tuning: ModuleType) -> None:
    grid = load_experiment("tuning").strategies
    chosen = tuning.choices(tuning.mean_drops(TUNED), grid)
    assert len(chosen) == len(grid) - 1, "all but naive, which has no setting"
    for strategy, (_, value) in chosen.items():
        assert parse(strategy).terms == parse(value).terms, strategy


def test_the_table_of_the_choice_is_the_committed_one(tuning: ModuleType) -> None:
    lines = tuning.report(TUNED, load_experiment("tuning").strategies)
    assert (TUNED / "choice.md").read_text(encoding="utf-8").splitlines() == lines


@pytest.mark.parametrize(
    ("drops", "value"),
    [
        ([[0.10, 0.10], [0.08, 0.08]], "b"),
        ([[0.10, 0.10], [0.01, 0.09]], "a"),
        ([[0.10, 0.10], [0.20, 0.05]], "a"),
    ],
    ids=["two points with each seed", "one seed by one point alone", "better on the mean of neither"],
)
def test_another_value_is_taken_where_it_is_better_by_two_points_with_every_seed(
    tuning: ModuleType, drops: list[list[float]], value: str
) -> None:
    assert tuning.chosen(pd.DataFrame(drops, index=["a", "b"]), "a") == value
