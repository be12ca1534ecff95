"""The command line: what it plans, prints and refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cl_bench import cli
from cl_bench.cli.app import results_folder
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.testing.bench import Bench

pytestmark = pytest.mark.usefixtures("full_sizes")  # as the processes that are started have

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path) -> Run:
    """Return a function that runs `cl-bench` in this process: exit code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cl-bench", *words])
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_a_file_stands_for_the_experiment_that_it_names(
    command: Run, tiny: Callable[..., str], results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = Path(tiny(name="renamed")).rename(tmp_path / "tiny.yaml")
    code, _, error = command("table", str(file))
    assert (code, error) == (2, f"error: experiment renamed has no results in {results} yet: cl-bench run {file}\n")
    assert command("run", str(file), "--strategies", "naive")[0] == 0
    code, shown, _ = command("table", str(file))
    assert code == 0
    assert "renamed: " in shown
    assert "did you mean 'renamed'" in command("table", "rename.yaml")[2]
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        assert "\x1b[" in command("table", str(file))[1], "a terminal has colours"
        assert command("table", str(file), "-o", str(tmp_path / "table.txt"))[0] == 0
    assert "\x1b[" not in (tmp_path / "table.txt").read_text()
    assert (results / "renamed" / "table.md").read_text().startswith("**renamed: ")
    for path in ("nowhere/renamed", "nowhere/renamed.yaml"):
        assert f"unknown experiment with results '{path}'" in command("table", path)[2]
    (tmp_path / "notes.md").touch()
    assert "unknown experiment with results" in command("table", str(tmp_path / "notes.md"))[2]


def test_a_name_that_no_file_system_takes_is_told(command: Run, tiny: Callable[..., str], results: Path) -> None:
    code, _, error = command("run", tiny(), "--plugin", "n" * 300 + ".py")
    assert code == 2
    assert error.startswith("error: plugin file /")
    assert error.endswith("nn.py does not exist\n")


@pytest.mark.parametrize(
    ("options", "stages", "unshared"),
    [
        (["--set", "schedule=per_stage"], 9, 12),
        (["--set", "schedule=total"], 10, 12),
        (["--orders", "all"], 39, 57),
    ],
)
def test_a_dry_run_counts_distinct_stages_and_writes_nothing(
    command: Run, tiny: Callable[..., str], results: Path, options: list[str], stages: int, unshared: int
) -> None:
    code, shown, _ = command("run", tiny(), "--strategies", "naive,kd,kd+replay", "--dry-run", *options)
    assert code == 0
    assert f"{stages} stages: 0 done, {stages} to train ({unshared} if none were shared)" in shown
    assert shown.count("  train ") == stages
    assert list(results.rglob("*.json")) == []


def test_a_run_says_which_rows_leave_the_table(command: Run, tiny: Callable[..., str], results: Path) -> None:
    path, names = tiny(orders=[["seg"]]), ("--strategies", "naive,kd,replay")
    assert "without --add" not in command("run", path, *names)[2]
    assert "without --add" not in command("run", path, *names)[2]
    assert "without --add" not in command("run", path, "--add", "--strategies", "naive")[2]
    code, _, said = command("run", path, "--strategies", "naive", "--dry-run")
    assert (code, said) == (0, "note: without --add the table of tiny loses 2 of its runs: kd, replay\n")
    (results / "tiny" / "plan.json").write_text("{")
    assert command("run", path, "--strategies", "naive")[0] == 0


def test_add_says_which_baselines_another_processor_trains_again(
    command: Run, tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]
) -> None:
    prepared = with_stages(prepare(tiny(), strategies=["naive"], seeds=[0]))
    added = ("run", tiny(), "--add", "--strategies", "kd", "--dry-run")
    shutil.rmtree(prepared.store.root)
    assert command(*added)[::2] == (0, ""), "trained on this processor"
    costs = pd.read_csv(prepared.folder / "stages.csv").assign(processor="another (AVX2)")
    costs.to_csv(prepared.folder / "stages.csv", index=False)
    said = command(*added)[2]
    assert said.startswith("note: 1 stages of tiny that another (AVX2) trained must be trained again here.")
    assert command("run", tiny(), "--add", "--dry-run")[2] == "", "nothing new starts from any"


def test_why_names_the_setting_that_makes_a_stage_train_again(command: Run, tiny: Callable[..., str]) -> None:
    assert command("run", tiny(orders=[["seg"]]))[0] == 0
    code, shown, _ = command("run", tiny(orders=[["seg"]]), "--dry-run", "--why", "--set", "learning_rate=0.01")
    assert code == 0
    assert "train.0.learning_rate: 0.001 -> 0.01" in shown
    code, shown, _ = command("run", tiny(orders=[["seg"]]), "--dry-run")
    assert "1 stages: 1 done, 0 to train" in shown


FAILING = """
from avalanche.core import SupervisedPlugin
from cl_bench import strategy
class Fault(SupervisedPlugin):
    acts_from = 2
    def before_backward(self, strategy, **_):
        {body}
@strategy("fault")
def fault(x: int = 0): return [Fault()]
"""


@pytest.mark.parametrize(
    ("body", "reason", "advice", "again"),
    [
        ("raise RuntimeError('boom')", "boom", "run again to try them once more", "boom"),
        ("strategy.loss *= float('nan')", "not finite", "tried again with --retry failed only", "in an earlier run"),
    ],
)
def test_a_failed_stage_is_recorded_and_the_rest_goes_on(
    command: Run,
    tiny: Callable[..., str],
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    reason: str,
    advice: str,
    again: str,
) -> None:
    from cl_bench.plugins import registry

    known = registry.strategies
    monkeypatch.setattr(known, "entries", {name: known.get(name) for name in known})
    file = tmp_path / f"fault{len(body)}.py"
    file.write_text(FAILING.format(body=body))
    experiment = tiny(orders=[["cls", "seg"]])
    words = ("run", experiment, "--strategies", "fault[x=1],naive", "--plugin", str(file))
    code, shown, errors = command(*words)
    assert code == 1
    assert "1 of 4 stages failed" in errors
    assert advice in errors
    assert "seg after cls with fault[x=1], seed 0: " in errors
    assert "failed" in shown
    (failed,) = (results / "failed").glob("*.json")
    assert reason in json.loads(failed.read_text())["reason"]
    assert (f"the last lines of its log are in {failed}" in errors) == ("boom" in body)
    assert again in " ".join(command(*words)[2].split())
    assert "in an earlier run" not in json.loads(failed.read_text())["reason"]
    assert len(list((results / "stages").glob("*/stage.json"))) == 3


def test_a_report_needs_runs(command: Run, tiny: Callable[..., str]) -> None:
    assert command("run", tiny(strategies=[], orders=[["cls"]], epochs=1))[0] == 0
    code, _, errors = command("report", "tiny")
    assert code == 2
    assert "tiny has baselines alone" in errors


def test_results_are_shown_in_every_form(
    command: Run, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared], tmp_path: Path
) -> None:
    with_stages(prepare(tiny(), strategies=["naive", "joint"]))
    for form, sign in (("markdown", "| strategy"), ("csv", "strategy,"), ("latex", r"\toprule"), ("terminal", "naive")):
        code, shown, _ = command("table", "tiny", "-f", form)
        assert code == 0
        assert sign in shown
    signs = {"md": "| strategy", "tex": r"\multicolumn", "html": "<table", "csv": "experiment,", "json": '"drop":'}
    for ending, sign in {**signs, "txt": "strategy  ", "TEX": r"\toprule"}.items():
        file = tmp_path / f"table.{ending}"
        assert command("table", "tiny", "-o", str(file)) == (0, f"{file}\n", "")
        assert sign in file.read_text()
    assert command("table", "tiny", "-f", "md", "-o", str(file))[0] == 0
    assert file.read_text() == (tmp_path / "table.md").read_text(), "what is said goes before the name"
    assert "did you mean 'markdown'" in command("table", "tiny", "-f", "markdwn")[2]
    assert "unknown table format 'xlsx'" in command("table", "tiny", "-o", str(tmp_path / "table.xlsx"))[2]
    assert "unknown table format 'xlsx'" in command("compare", "tiny", "tiny", "-o", "table.xlsx")[2]
    assert len(json.loads(command("table", "tiny", "-f", "json")[1])) == 6
    assert "| strategy | task (metric) |" in command("table", "tiny", "--long", "-f", "md")[1]
    assert "peak" in command("table", "tiny", "--costs")[1]
    assert "--costs has a row a strategy" in command("table", "tiny", "--costs", "--full")[2]
    assert "--long is for the table of drops" in command("table", "tiny", "--long", "--against", "naive")[2]
    plain, noted = (command("table", "tiny", *words)[1] for words in ([], ["--notes"]))
    assert "Made with" in noted
    assert "Made with" not in plain
    assert "--notes is for the tables of drops" in command("table", "tiny", "--notes", "--against", "naive")[2]
    code, shown, _ = command("plot", "tiny", "-o", str(tmp_path / "plots"))
    assert code == 0
    assert sorted(path.suffix for path in (tmp_path / "plots").iterdir()) == [".pdf", ".png", ".svg"]


def test_the_package_runs_as_a_module() -> None:
    found = subprocess.run([sys.executable, "-m", "cl_bench", "list", "kinds"], capture_output=True, text=True)
    assert found.returncode == 0
    assert "detection" in found.stdout


def test_what_reads_results_imports_neither_torch_nor_avalanche(command: Run, tiny: Callable[..., str]) -> None:
    command("run", tiny(orders=[["cls"]]))
    lines = ["--help", "table tiny", "compare tiny tiny", "plot tiny", "report tiny", "gallery tiny", "status tiny"]
    # One after the other in one process: what one imports, all that come after it have.
    code = (
        "import sys\nfrom cl_bench import cli\n"
        f"for line in {lines}:\n"
        "    sys.argv = ['cl-bench', *line.split()]\n"
        "    try: cli.main()\n"
        "    except SystemExit: pass\n"
        "    print('== imported:', sorted({'torch', 'avalanche'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, rest = found.stdout.split("== imported: []\n")
    assert rest == ""
    assert len(shown) == len(lines)
    assert all(shown)


@pytest.mark.parametrize("what", ["strategies", "experiments", "kinds", "formats", "backbones"])
def test_everything_can_be_listed(command: Run, what: str) -> None:
    expected = {"strategies": "kd", "experiments": "quickstart", "kinds": "detection", "formats": "coco"}
    code, shown, _ = command("list", what)
    assert code == 0
    assert expected.get(what, "efficientnet_b0") in shown


def test_the_literal_model_has_exactly_the_parameters_of_the_protocol(command: Run) -> None:
    code, shown, _ = command("model", "unified_onehead")
    assert code == 0
    counts = {line[:28].strip(): line[28:40].strip() for line in shown.splitlines()}
    assert counts["backbone"] == "3,595,388"
    assert counts["neck"] == "503,552"
    assert counts["shared layer"] == "73,792"
    assert [counts[f"{task} predictor"] for task in ("seg", "det", "cls")] == ["1,365", "390", "650"]
    assert counts["total"] == "4,175,137"


def test_a_sweep_runs_every_combination_and_prints_one_table(
    command: Run, tiny: Callable[..., str], results: Path
) -> None:
    path = tiny(orders=[["seg", "cls"]], epochs=1)
    code, shown, _ = command("run", path, "--strategies", "kd[weight=[0,1]]", "--sweep", "learning_rate=1e-3,2e-3")
    assert code == 0
    assert sorted(plan.parent.name for plan in results.glob("*/plan.json")) == [
        "tiny-learning_rate_0_001",
        "tiny-learning_rate_0_002",
    ]
    table = shown[shown.rindex("sweep") :]
    assert table.count("kd[weight=0]") == table.count("kd[weight=1]") == 2
    assert "tiny-learning_rate_0_001: 4 stages" in shown


def test_a_sweep_of_what_is_no_setting_is_refused_before_anything_is_trained(
    command: Run, tiny: Callable[..., str], results: Path
) -> None:
    code, _, said = command("run", tiny(), "--sweep", "learning_rate=1e-3,fast")
    assert code == 2
    assert "learning_rate" in said
    assert not list(results.rglob("stage.json"))


def test_a_budget_says_what_it_leaves_out(
    command: Run, tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]
) -> None:
    path = tiny(orders=[["seg", "cls"]], epochs=1)
    with_stages(prepare(path))
    code, shown, _ = command("run", path, "--budget", "0.001s", "--seeds", "0,1")
    assert code == 0
    assert "1 of 2 runs fit" in shown
    assert "left out: naive, seg>cls, seed 1" in shown
    assert command("run", path, "--budget", "soon")[0] == 2
    code, _, said = command("run", path, "--budget", "0.001s", "--seeds", "1")
    assert code == 2
    assert "no run fits into 0.001s: the shortest takes about" in said


def test_a_file_sweeps_and_a_budget_is_for_all_of_it(
    command: Run, tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]
) -> None:
    path = tiny(orders=[["seg", "cls"]], epochs=1)
    with_stages(prepare(path))
    swept = tiny(orders=[["seg", "cls"]], epochs=1, sweep={"learning_rate": [1.0e-3, 2.0e-3]})
    code, shown, _ = command("run", swept, "--dry-run")
    assert code == 0
    assert "tiny-learning_rate_0_001: 3 stages: 3 done" in shown
    code, shown, _ = command("run", swept, "--budget", "0.001s", "--dry-run")
    assert code == 0, shown
    assert "tiny-learning_rate_0_001: 1 of 1 runs fit: about 0 s" in shown
    assert "tiny-learning_rate_0_002: 0 of 1 runs fit" in shown
    assert "--sweep KEY=VALUE,VALUE does that" in command("run", path, "--set", "sweep.epochs=[1,2]")[2]
    code, _, said = command("data", "audit", swept)
    assert code == 2
    assert "sweeps, which is many experiments" in " ".join(said.split())
    assert "--set learning_rate: it is swept" in command("run", swept, "--set", "learning_rate=1")[2]
    assert "--budget takes a time" in command("run", swept, "--budget", "")[2]
    assert "name is no setting to sweep" in command("run", tiny(sweep={"name": ["a", "b"]}))[2]
    code, _, said = command("run", tiny(sweep={"learning_rate": 1.0e-3}))
    assert code == 2
    assert "sweep takes lists of values" in " ".join(said.split())


def test_a_new_strategy_is_written_checked_and_run(
    command: Run, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cl_bench.plugins.registry import strategies

    monkeypatch.setattr("cl_bench.testing.bench.Bench", lambda _: bench)  # with naive's stages, if it has them
    monkeypatch.chdir(tmp_path)
    try:
        code, shown, _ = command("strategy", "new", "my_idea")
        assert code == 0
        assert "cl-bench strategy check my_idea --plugin my_idea.py" in shown
        code, shown, _ = command("check", "my_idea")
        assert code == 1
        assert "if my_idea.py declares it, add --plugin my_idea.py" in " ".join(shown.split())
        code, shown, _ = command("check", "my_idea", "--plugin", "my_idea.py")
        assert code == 0
        assert "equals naive bit for bit" in shown
        assert command("new-strategy", "my_idea")[0] == 2
        assert command("new-strategy", "My-Idea")[0] == 2
        assert command("new-strategy", "kd")[0] == 2
        assert "would hide the module 'json'" in command("new-strategy", "json")[2]
        assert "word of Python's or pytest's own" in command("new-strategy", "lambda")[2]
        code, shown, _ = command("check", "my_idea[wait=1]", "kd[weight=0.0]")
        assert code == 1
        assert "my_idea[wait=1]: failed" in shown
        assert "unknown setting 'wait'" in shown
        assert "kd[weight=0.0]: failed" in shown, "it changes nothing"
    finally:
        strategies.entries.pop("my_idea", None)


def test_results_with_a_dot_in_their_name_are_read_as_themselves(command: Run, results: Path) -> None:
    for name in ("tiny", "tiny.v1"):
        (results / name).mkdir(parents=True)
        (results / name / "plan.json").write_text("{}")
    assert results_folder("tiny.v1") == results / "tiny.v1"
    assert results_folder("tiny") == results / "tiny"


@pytest.mark.parametrize("name", ["2024", "null", "on"])
def test_a_file_may_have_a_name_that_yaml_takes_for_something_else(
    command: Run, tiny: Callable[..., str], tmp_path: Path, name: str
) -> None:
    text = "".join(line for line in Path(tiny()).read_text().splitlines(keepends=True) if not line.startswith("name:"))
    (tmp_path / f"{name}.yaml").write_text(text)
    code, shown, told = command("run", str(tmp_path / f"{name}.yaml"), "--dry-run")
    assert (code, told) == (0, "")
    assert "stages: 0 done" in shown
