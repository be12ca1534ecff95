"""Commands in groups, options that stand anywhere, and the names that commands had before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

import cl_bench
from cl_bench.cli.app import app, numbers
from cl_bench.cli.group import PANELS, flags, take_out
from cl_bench.config.presets import load_experiment


def call(*words: str) -> Result:
    found = CliRunner().invoke(app, list(words), env={"COLUMNS": "100"}, prog_name="cl-bench")
    assert found.exit_code == 0, found.output
    return found


def test_help_has_a_heading_a_group_and_every_command_stands_under_one() -> None:
    shown = call("-h").output
    assert [line for line in shown.splitlines() if line in {f"{panel}:" for panel in PANELS}] == [
        "Train:",
        "Look:",
        "Extend:",
        "Deploy:",
        "Data:",
        "Store:",
    ]
    assert "Others:" not in shown
    assert shown == call("--help").output == call("help").output
    for old in ("new-strategy", "export-results", "latencies", "  gc ", "  check "):
        assert old not in shown


def test_every_group_has_its_commands() -> None:
    for group, names in {
        "strategy": ("new", "check"),
        "model": ("show", "export", "predict", "latency"),
        "results": ("export", "import", "gc"),
        "data": ("prepare", "audit", "show", "add"),
    }.items():
        shown = call(group, "-h").output
        assert all(f"\n  {name}" in shown for name in names), group


@pytest.mark.parametrize(
    "old",
    ["new-strategy", "check", "export-results", "import-results", "gc", "export", "predict", "latency", "latencies"],
)
def test_the_old_names_go_on_working(old: str) -> None:
    assert f"Usage: cl-bench {old} " in call(old, "--help").output
    assert call("help", old).output == call(old, "-h").output


def test_the_version() -> None:
    assert call("--version").output == call("-V").output == f"cl-bench {cl_bench.__version__}\n"


def test_the_shell_is_told_how_to_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "_CL_BENCH_COMPLETE" in call("--show-completion", "bash").output
    env = {"_CL_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": "cl-bench run quick", "COMP_CWORD": "2"}
    assert CliRunner().invoke(app, [], env=env, prog_name="cl-bench").output.strip() == "quickstart"


def test_a_model_is_shown_with_and_without_the_word() -> None:
    words = ("check", "--set", "image_size=32")
    assert call("model", *words).output == call("model", "show", *words).output
    assert "backbone" in call("model", "--set", "image_size=32", "check").output


def test_debug_and_quiet_stand_anywhere() -> None:
    assert take_out(["run", "x", "--debug", "-q"]) == ["run", "x"]
    assert (flags.debug, flags.quiet) == (True, True)
    assert take_out(["run", "--", "--debug"]) == ["run", "--", "--debug"]
    assert (flags.debug, flags.quiet) == (False, False)
    assert call("config", "quickstart", "--debug").output == call("-q", "config", "quickstart").output


def test_seeds_as_ranges() -> None:
    assert numbers("0-4") == [0, 1, 2, 3, 4]
    assert numbers("0-2, 7,9-9") == [0, 1, 2, 7, 9]
    assert numbers("") == []


def test_the_resolved_experiment_is_printed(tmp_path: Path) -> None:
    shown = call("config", "quickstart", "--set", "epochs=3", "--set", "tasks.det.epochs=4").output
    content = yaml.safe_load(shown)
    assert (content["epochs"], content["weight_decay"]) == (3, load_experiment("quickstart").weight_decay)
    (tmp_path / "quickstart.yaml").write_text(shown)
    again = load_experiment(str(tmp_path / "quickstart.yaml"))
    assert again == load_experiment("quickstart", ["epochs=3", "tasks.det.epochs=4"])


def test_a_key_is_explained() -> None:
    shown = call("explain", "lr").output
    assert shown.startswith("learning_rate\n")
    assert "default:  0.0008" in shown
    assert "tasks.NAME.kind " in call("explain").output


@pytest.mark.slow
def test_a_run_tells_scores_and_an_idle_gpu_and_its_results_are_an_experiment(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cl_bench.utils.machine.idle_gpu", lambda: "A GPU")
    path = tiny(orders=[["seg", "cls"]], strategies=["naive"], epochs=1)
    told = call("run", path)
    assert "note: A GPU is idle: --set device=cuda trains on it\n" in told.stderr
    (line,) = [line for line in told.stderr.splitlines() if "cls after seg" in line]
    assert line.partition(" s: ")[2].startswith("validation seg .")
    assert ", cls " in line
    assert "3 stages: 3 done, 0 to train" in call("run", "tiny", "--dry-run").output
    assert "tiny: test_efficientnet" in call("model", "tiny").output
    quiet = call("run", "tiny", "-q", "--seeds", "0-1")
    assert quiet.stderr == ""
    assert "to train" not in quiet.stdout
    assert "naive" in quiet.stdout
