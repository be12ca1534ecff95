"""What the README shows is what happens."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from shown_commands import assert_understood
from typer.testing import CliRunner

from cl_bench.cli.app import app
from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.usefixtures("declared_here_alone")
def test_the_strategy_it_shows_runs_as_a_plugin_file(tiny: Callable[..., str], results: Path, tmp_path: Path) -> None:
    code = next(block for block in blocks("python") if "@strategy" in block)
    file = tmp_path / "my_method.py"
    file.write_text(code)
    prepared = prepare(tiny(), strategies=["naive", "my_method", "my_method[memory=4]"], plugin_files=[file])
    assert train(prepared) == {}
    stored = [prepared.store.describe(run.stages[-1])["cost"]["stored_images"] for run in prepared.plan.runs]
    assert stored == [0, 12, 4]


def test_the_python_it_shows_runs(tiny: Callable[..., str], results: Path, tmp_path: Path) -> None:
    code = next(block for block in blocks("python") if "cl_bench.run" in block)
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg")
    names = {'"quickstart"': repr(tiny()), "range(3)": "range(1)"}
    names |= {f'"{file}"': repr(str(tmp_path / file)) for file in ("photo.jpg", "curves.png")}
    for shown, used in names.items():
        assert shown in code
        code = code.replace(shown, used)
    exec(code, {})
    assert (tmp_path / "curves.png").is_file()


COMMANDS = [line.partition("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("cl-bench")])
def test_every_command_it_shows_is_understood(command: str) -> None:
    assert_understood(shlex.split(command))


def committed(experiment: str) -> Path:
    """The folder of results; the test is skipped where a run of one's own took their place."""
    folder = ROOT / "results" / experiment
    if subprocess.run(["git", "diff", "--quiet", "HEAD", "--", folder], cwd=ROOT, capture_output=True).returncode == 1:
        pytest.skip(f"results/{experiment} was made anew here: git checkout results/{experiment} brings it back")
    return folder


def test_its_table_is_what_the_command_above_it_prints_of_the_committed_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = re.search(r"<!-- table: cl-bench (.*?) -->\n(.*?)<!-- end of table -->", README, re.DOTALL)
    assert shown is not None
    monkeypatch.setenv("CL_BENCH_RESULTS", str(committed("zoo").parent))
    printed = CliRunner().invoke(app, shlex.split(shown[1]), prog_name="cl-bench")
    assert printed.exit_code == 0, printed.output
    assert shown[2].strip() == printed.stdout.strip()


def test_the_drops_it_tells_of_photographs_are_those_of_the_committed_results() -> None:
    from cl_bench.results.rows import read_results
    from cl_bench.results.summary import summary

    of_three, of_five = (
        summary(read_results(committed(name))).set_index(["strategy", "task"])
        for name in ("unified_onehead_best", "unified_onehead_best_five")
    )
    told = re.findall(r"`([\w.=+\[\]]+)` loses (\d+), (\d+) and (\d+) %", README)
    assert [name for name, *_ in told] == ["naive", "replay", "kd", "kd+replay", "consolidate[label_weight=0.0]"]
    for name, *drops in told:
        table = of_five if name.startswith("consolidate") else of_three
        assert drops == [f"{100 * table.loc[(name, task), 'drop']:.0f}" for task in ("seg", "det", "cls")]


PHOTOGRAPHS = (
    *("naive", "replay", "kd", "kd[weight=1.0]", "kd+replay"),
    *("consolidate", "consolidate[label_weight=0.0]", "joint"),
)


def test_the_drops_the_docs_show_of_photographs_are_those_of_the_committed_results() -> None:
    from cl_bench.results.rows import read_results
    from cl_bench.results.summary import summary

    page = (ROOT / "docs" / "results" / "photographs.md").read_text(encoding="utf-8")
    table = summary(read_results(committed("unified_onehead_best"))).set_index(["strategy", "task"])
    shown = re.findall(r"^\| `(.*?)` \| (.*?\]) \| (.*?\]) \| (.*?\]) \| (.*?) \|", page, re.MULTILINE)
    assert tuple(strategy for strategy, *_ in shown) == PHOTOGRAPHS
    for strategy, *cells in shown:
        rows = [100 * table.loc[(strategy, task), ["drop", "drop_low", "drop_high"]] for task in ("seg", "det", "cls")]
        drops = [f"{drop:.1f} [{low:.1f}, {high:.1f}]" for drop, low, high in rows]
        assert cells == [*drops, f"{table.loc[(strategy, 'seg'), 'relative_flops']:.1f}"]


def test_the_drops_of_five_seeds_are_those_of_the_committed_results() -> None:
    from cl_bench.results.rows import read_results
    from cl_bench.results.summary import summary

    page = (ROOT / "docs" / "results" / "photographs.md").read_text(encoding="utf-8")
    table = summary(read_results(committed("unified_onehead_best_five"))).set_index(["strategy", "task"])
    shown = re.findall(r"^\| `(.*?)` \| (.*?\]) \| (.*?\]) \| (.*?\]) \|$", page, re.MULTILINE)
    assert [strategy for strategy, *_ in shown] == ["naive", "consolidate[label_weight=0.0]"]
    for strategy, *cells in shown:
        rows = [100 * table.loc[(strategy, task), ["drop", "drop_low", "drop_high"]] for task in ("seg", "det", "cls")]
        assert cells == [f"{drop:.1f} [{low:.1f}, {high:.1f}]" for drop, low, high in rows]


def test_the_scores_the_docs_show_of_photographs_are_those_of_the_committed_results() -> None:
    from cl_bench.results.rows import load_results

    page = (ROOT / "docs" / "results" / "photographs.md").read_text(encoding="utf-8")
    rows = load_results(committed("unified_onehead_best"))
    rows = rows[rows["last"] & (rows["split"] == "test") & rows["metric"].isin(["mIoU", "AP50", "Top-1"])]
    means = rows.groupby(["strategy", "position", "task"])["value"].mean()
    shown = re.findall(r"^\| `(.*?)` \| (\.\d+|) \| (\.\d+) \| (\.\d+|) \| (\.\d+) \| (\.\d+) \|$", page, re.MULTILINE)
    assert tuple(strategy for strategy, *_ in shown) == PHOTOGRAPHS
    for strategy, *cells in shown:
        end = means[strategy].index.get_level_values("position").max()
        places = [(end - 1, "seg"), (end, "seg"), (end - 1, "det"), (end, "det"), (end, "cls")]
        wanted = [f"{means[strategy].get(place, float('nan')):.3f}".lstrip("0").replace("nan", "") for place in places]
        assert cells == wanted


def test_the_drops_of_another_processor_are_those_of_the_committed_results() -> None:
    from cl_bench.results.rows import read_results
    from cl_bench.results.summary import summary

    page = (ROOT / "docs" / "results" / "photographs.md").read_text(encoding="utf-8")
    other = summary(read_results(committed("unified_onehead_best_seed0"))).set_index(["strategy", "task"])["drop"] * 100
    assert f"`naive` loses {other['naive', 'det']:.1f} % of detection" in " ".join(page.split())


def test_the_table_of_all_strategies_is_the_one_of_the_committed_results() -> None:
    from cl_bench.results.rows import read_results
    from cl_bench.results.summary import summary

    table = summary(read_results(committed("zoo"))).set_index(["strategy", "task"])
    page = (ROOT / "docs" / "results" / "leaderboard.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([^`]+)` \| (-?\d.*) \|$", page, re.MULTILINE)
    assert {name for name, _ in shown} == {name for name, _ in table.index}
    for name, cells in shown:
        *drops, mean, never, flops = cells.split(" | ")
        rows = [100 * table.loc[(name, task), ["drop", "drop_low", "drop_high"]] for task in ("seg", "det", "cls")]
        wanted = [f"{drop:.1f} [{low:.1f}, {high:.1f}]" for drop, low, high in rows]
        assert drops == [text.replace("-0.0 ", "0.0 ") for text in wanted]
        row = table.loc[(name, "det")]
        assert [mean, flops] == [f"{100 * row['average_drop']:.1f}", f"{row['relative_flops']:.2f}"]
        assert never == ("-" if name == "joint" else f"{100 * row['intransigence']:.1f}")


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
