"""What would settle verdicts, on synthetic results."""

import math

import numpy as np
import pytest
from synthetic import Experiment

from cl_bench.metrics.power import seeds_needed, settling
from cl_bench.metrics.uncertainty import Spread
from cl_bench.report.tables.drops import notes
from cl_bench.report.tables.power import render, settled_by
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary

pytestmark = pytest.mark.usefixtures("own_results")


def by_hand(results, seeds=3):
    """Seg, then cls: seg loses about 8 % (fail, uncertain by seeds), cls nothing at all."""
    experiment = Experiment(results, name="hand", tasks=("seg", "cls"), epochs=1)
    noise = np.random.default_rng(0).normal(1, 0.005, 1000).astype(np.float32)
    for seed, lost in enumerate((0.02, 0.08, 0.14)[:seeds]):
        first = experiment.baseline("seg", seed, [0.4])
        alone = experiment.baseline("cls", seed, [0.8])
        second = experiment.stage(f"naive-{seed}", ["cls"], first, {"seg": [0.4 * (1 - lost)], "cls": [0.8]})
        experiment.run("naive", ("seg", "cls"), seed, [first, second])
        experiment.resamples[first] = {"seg": np.full(1000, 0.4, np.float32)}
        experiment.resamples[alone] = {"cls": np.full(1000, 0.8, np.float32)}
        experiment.resamples[second] = {
            "seg": np.float32(0.4 * (1 - lost)) * noise,
            "cls": np.full(1000, 0.8, np.float32),
        }
    return experiment.write()


def rows(folder):
    return summary(read_results(folder)).set_index("task")


def test_what_is_settled_needs_nothing_and_what_is_not_says_how_much(tmp_path):
    table = rows(by_hand(tmp_path))
    assert table.loc["cls", "verdict"] == "bonus"
    assert settled_by(table.loc["cls"].to_dict(), "seeds") == "-"
    seg = table.loc["seg"].to_dict()
    assert seg["verdict"] == "fail (uncertain)"
    assert (seg["seeds"], seg["scored"]) == (3, 60)
    parts = Spread(*(seg[f"{part}_deviation"] ** 2 for part in ("seeds", "images", "interaction")), math.nan)
    assert seg["settling_seeds"] == seeds_needed(seg["drop"], parts, 3, 0.05) > 3
    assert settled_by(seg, "seeds") == str(int(seg["settling_seeds"]))
    assert settled_by(seg, "images") == "none"  # as the seeds alone differ by too much


def test_of_one_seed_nothing_is_known(tmp_path):
    results = read_results(by_hand(tmp_path, seeds=1))
    found = summary(results)
    table = found.set_index("task")
    assert table.loc["seg", "verdict"] == "pass (uncertain)"
    assert settled_by(table.loc["seg"].to_dict(), "seeds") == settled_by(table.loc["seg"].to_dict(), "images") == "?"
    assert any("of one seed nothing is known of others" in note for note in notes(found, results))


@pytest.mark.parametrize("format", ["terminal", "markdown", "latex", "csv"])
def test_the_table_has_both_parts_and_both_numbers(tmp_path, format):
    results = read_results(by_hand(tmp_path))
    found = summary(results)
    text = render(found, results, format)
    needed = str(int(found.set_index("task").loc["seg", "settling_seeds"]))
    assert needed in text
    if format != "csv":
        assert "none" in text
        assert "chance of 87" in " ".join(text.split())


def test_the_table_of_drops_says_how_many_verdicts_more_seeds_would_settle(tmp_path):
    results = read_results(by_hand(tmp_path))
    found = summary(results)
    said = "1 of 2 verdicts are uncertain; more seeds alone would settle 1 of them, more images alone 0"
    assert f"{said} (cl-bench power)." in notes(found, results)


def test_a_verdict_that_is_certain_or_void_has_no_numbers():
    for verdict in ("pass", "fail", "void", ""):
        assert all(map(math.isnan, settling({"verdict": verdict}, 60).values()))
