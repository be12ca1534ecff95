"""What Python code is given: names, experiments built by hand, strategies as objects, and results as they were."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from avalanche.core import SupervisedPlugin
from conftest import TINY, message
from synthetic import plausible

import cl_bench
from cl_bench.api.strategies import as_seeds
from cl_bench.cli.read import track
from cl_bench.config.presets import load_experiment
from cl_bench.kinds.prediction import Mask
from cl_bench.plugins.registry import trackers
from cl_bench.report.trackers.send import check_trackers, send_results

ROOT = Path(__file__).resolve().parents[2]
CLS: dict[str, Any] = {**TINY, "tasks": TINY["tasks"][2:], "epochs": 1}  # type: ignore[index]
"""A single short task."""

pytestmark = pytest.mark.usefixtures("declared_here_alone")


class Shrinking(SupervisedPlugin):
    """Does nothing, and keeps its argument."""

    acts_from = 2

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight


class Raising(SupervisedPlugin):
    acts_from = 1

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        raise RuntimeError("boom\nand more")


def raising() -> list[Any]:
    """Fail when the stage begins."""
    return [Raising()]


@pytest.fixture
def told(tmp_path: Path) -> cl_bench.Results:
    return cl_bench.load_results(plausible(tmp_path, seeds=(0, 1)).write())


def test_public_names_are_seen_and_stand_alone() -> None:
    assert set(cl_bench.__all__) <= set(dir(cl_bench))
    assert {"run", "load_results", "load_model", "Experiment", "Task", "strategy", "kind", "tracker"} <= set(
        dir(cl_bench)
    )
    for name in cl_bench.__all__:
        assert inspect.getdoc(getattr(cl_bench, name)), name
    functions = ("run", "load_results", "load_model", "list_strategies", "list_backbones", "kind", "tracker")
    assert all("cl_bench." in (inspect.getdoc(getattr(cl_bench, name)) or "") for name in functions)
    stub = (ROOT / "cl_bench" / "__init__.pyi").read_text(encoding="utf-8")
    assert [f'    "{name}",' for name in cl_bench.__all__] == stub.partition("[\n")[2].rpartition("\n]")[0].splitlines()
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        cl_bench.rum  # type: ignore[attr-defined] # noqa: B018


def test_importing_it_and_reading_results_costs_little() -> None:
    code = (
        "import sys, cl_bench; dir(cl_bench); assert not {'torch', 'pandas', 'pydantic', 'yaml'} & set(sys.modules);"
        "cl_bench.load_results('results/quickstart').table(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_lists_of_names() -> None:
    assert {"naive", "kd", "replay"} <= set(cl_bench.list_strategies())
    assert cl_bench.list_strategies("*replay*") == [n for n in cl_bench.list_strategies() if "replay" in n]
    assert "resnet18" in cl_bench.list_backbones("resnet1*")


@pytest.mark.parametrize("given", [3, [3], (3,), range(3, 4)])
def test_seeds_in_their_forms(given: Any) -> None:
    assert as_seeds(given) == [3]


@pytest.mark.parametrize("given", ["0-4", 1.5, [0.5], [True], None])
def test_seeds_that_are_none(given: Any) -> None:
    assert "seeds are whole numbers, such as 0, range(3) or [0, 1]" in message(as_seeds, given)


def test_experiments_in_their_forms(tiny: Callable[..., str]) -> None:
    path, changes = tiny(), {"epochs": 3, "tasks.det.epochs": 4}
    expected = load_experiment(path, changes)
    assert load_experiment(Path(path), changes) == expected
    assert load_experiment(TINY, changes) == expected
    assert load_experiment(cl_bench.Experiment(**TINY), changes) == expected  # type: ignore[arg-type]
    assert TINY["epochs"] == 2, "what was given stays as it is"
    own = load_experiment({"extends": "quickstart", "name": "own", "epochs": 1})
    assert (own.name, own.epochs, len(own.tasks)) == ("own", 1, 3)
    assert message(load_experiment, {**TINY, "epoch": 1}).startswith(
        "the experiment: unknown key 'epoch'; did you mean"
    )
    assert "name: Field required" in message(load_experiment, {"tasks": TINY["tasks"]})


def test_results_are_the_data_frame_that_they_were(told: cl_bench.Results, tmp_path: Path) -> None:
    rows = told.rows
    assert isinstance(told, pd.DataFrame)
    assert type(rows) is pd.DataFrame
    pd.testing.assert_frame_equal(pd.DataFrame(told), rows)
    assert told.equals(cl_bench.load_results(told.folder))
    last = told[told["last"] & (told.strategy == "naive")]
    assert type(last) is pd.DataFrame
    assert last["value"].between(0, 1).all()
    assert len(pd.concat([told, told])) == 2 * len(rows)
    assert told.groupby("strategy")["value"].mean().index.tolist() == sorted(set(rows["strategy"]))
    assert told.attrs == {}
    assert len(told.merge(rows)) == len(rows)
    told.to_csv(tmp_path / "rows.csv", index=False)
    assert len(pd.read_csv(tmp_path / "rows.csv")) == len(rows)
    again = pickle.loads(pickle.dumps(told))
    assert again.equals(told)
    assert again.folder == told.folder
    assert told.compare(rows).empty, "as pandas compares two frames"
    told["own"] = 1
    assert "own" not in rows


def test_results_tell_of_themselves(told: cl_bench.Results, tmp_path: Path) -> None:
    own = ["compare", "curves", "failures", "figure", "folder", "plan", "report", "rows", "summary", "table"]
    assert dir(told) == own
    assert "kd+replay" in told.table()
    assert repr(told.table()) == str(told.table()), "a prompt shows lines"
    assert "\\toprule" in told.table("latex")
    assert '<table class="compact">' in told._repr_html_()
    assert len(told.table(notes=True)) > len(told.table())
    assert told.table(columns=["drop"]).count("mean drop") > 1, "a row a task"
    assert told.table("csv").startswith("experiment,strategy,")
    assert told.table("md") == told.table("markdown")
    assert len(json.loads(told.table("json"))) == len(told.summary())
    assert told.table(columns="drop") == told.table(columns=["drop"])
    assert "unknown" in message(told.table, "docx")
    assert "results.summary().to_parquet(FILE) writes one" in message(told.table, "parquet")
    assert "columns and sort are for the table of drops" in message(told.table, "json", sort="drop")
    drops = told.summary()
    assert drops[drops["headline"] & (drops["strategy"] == "naive")]["drop"].max() > 0.5
    figure = told.curves(order="seg>det>cls", width=3.4)
    assert figure.get_size_inches()[0] == pytest.approx(3.4)
    assert len(told.curves(order="seg-det-cls").axes) == len(figure.axes)
    assert len(told.figure("matrix").axes) > 1
    assert "unknown figure 'matrices'; did you mean 'matrix'?" in message(told.figure, "matrices")
    assert "unknown order 'det>seg'" in message(told.curves, "det>seg")
    assert told.compare(told).empty, "as pandas compares data frames"
    against = told.compare(against="naive")
    assert "naive" not in set(against["strategy"])
    assert (against.set_index(["strategy", "task"]).loc[("kd+replay", "seg"), "difference"]) < 0
    assert "did you mean 'naive'" in message(told.compare, against="naiv")
    page = told.report(tmp_path / "page.html")
    assert "kd+replay" in page.read_text(encoding="utf-8")
    assert told.failures == {}
    assert [task.name for task in told.plan.tasks] == ["seg", "det", "cls"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"experiment": None}, "experiment takes a preset's name, a YAML file"),
        ({"strategies": [None]}, "a strategy is a name, a function"),
        ({"strategies": int}, "a strategy is a name, a function"),
        ({"orders": 3}, 'orders takes "all" or lists of task names, not 3'),
        ({"changes": 3}, "changes takes settings by dotted keys"),
        ({"changes": {3: 1}}, "changes takes settings by dotted keys"),
        ({"changes": "epohcs=1"}, "did you mean 'epochs'"),
        ({"plugin_files": 3}, "plugin_files takes Python files, not 3"),
        ({"plugin_files": "nope.py"}, "nope.py does not exist"),
        *(({"workers": n}, f"workers takes a whole number from 1, not {n!r}") for n in (0, -1, 1.5, "2", True)),
        ({"seeds": 2**80}, "seeds must not be negative, nor 2**63 or more"),
        ({"seeds": [True]}, "seeds are whole numbers"),
    ],
)
def test_arguments_of_run_that_are_none(arguments: dict[str, Any], said: str, results: Path) -> None:
    assert said in message(cl_bench.run, **{"experiment": CLS, **arguments})
    assert not results.exists()


@pytest.mark.parametrize("named", ["", ".", "/", ".."])
def test_a_folder_is_no_experiment(named: str) -> None:
    assert f"unknown experiment {named!r}" in message(cl_bench.run, named)


def test_arguments_of_another_type_are_named(told: cl_bench.Results) -> None:
    for argument in ("format", "columns", "sort", "split"):
        assert f"{argument} takes " in message(told.table, **{argument: 3})
    assert "against takes a text, not None" in message(told.compare, against=None)
    assert "url takes a text, not 5" in message(told.report, url=5)
    assert "width takes a number" in message(told.curves, width="wide")
    assert "path takes a folder or an experiment's name, not None" in message(cl_bench.load_results, None)
    assert "results takes a folder or an experiment's name, not 3" in message(cl_bench.load_model, 3)
    assert "order takes a text" in message(cl_bench.load_model, told, order=["seg"])
    assert "filter takes a text, not 3" in message(cl_bench.list_strategies, 3)


def test_baselines_alone_tell_of_themselves(tmp_path: Path) -> None:
    told = cl_bench.load_results(plausible(tmp_path, strategies=(), seeds=(0, 1)).write())
    assert "baseline" in told.table().lower()
    assert told.curves() is not None
    assert "long and full are for the table of drops" in message(told.table, long=True)
    assert "columns and sort are for the table of drops" in message(told.table, columns="nonsense")


def test_of_a_mask_the_share_of_each_class_is_asked_by_name() -> None:
    mask = Mask(np.array([[0, 0, 1, 0]], np.uint8), ("sky", "sea"))
    assert (mask.share("sky"), mask.share("sea")) == (0.75, 0.25)
    assert "unknown class 'see'; did you mean 'sea'" in message(mask.share, "see")


def test_a_tracker_of_ones_own(told: cl_bench.Results, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def send(tracked: Any, folder: Path) -> str:
        sent.append(tracked.experiment)
        return "there"

    monkeypatch.setattr(trackers, "entries", {})
    assert cl_bench.tracker("post")(send) is send
    check_trackers(["post"])
    assert send_results(told.folder, ["post"]) == {"post": "there"}
    assert sent == [told.plan.experiment]
    assert "did you mean 'wandb'" in message(check_trackers, ["wandbb"])
    assert "tracker 'wandb' is built in" in message(cl_bench.tracker, "wandb")
    assert "tracker 'post' is defined twice" in message(cl_bench.tracker("post"), check_trackers)


def test_a_tracker_in_a_file_is_known_to_the_command(
    told: cl_bench.Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "entries", {})
    file = tmp_path / "mine.py"
    file.write_text(
        "import cl_bench\n@cl_bench.tracker('mine')\ndef send(tracked, folder):\n    raise ValueError('no route')\n"
    )
    said = message(track, str(told.folder), ["mine"], plugin=[str(file)])
    assert "tracker mine did not take the results" in said
    assert said.endswith(f"mine --plugin {file}")


@pytest.mark.slow
def test_an_experiment_from_python_is_trained_shown_and_asked(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = cl_bench.Experiment(**{**TINY, "epochs": 1, "orders": [["cls", "seg"]]})
    told = cl_bench.run(experiment, strategies=["naive", Shrinking(2.0)], seeds=0, progress=True)
    assert set(told["strategy"]) == {"baseline", "naive", "Shrinking[weight=2.0]"}
    assert told.folder == results / "tiny"
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "seg after cls with Shrinking[weight=2.0], seed 0: done" in shown.err
    assert cl_bench.run(experiment, strategies="naive").folder == told.folder, "and nothing is trained"
    stages = set(told[told["strategy"] == "Shrinking[weight=2.0]"]["stage"])
    other = cl_bench.run(experiment, strategies=[Shrinking(3.0)])
    assert len(stages & set(other[other["strategy"] == "Shrinking[weight=3.0]"]["stage"])) == 1, "the first"
    said = message(cl_bench.run, experiment, strategies=[Shrinking], workers=2)
    assert "strategy Shrinking is an object of this process, which workers do not have" in said
    ask_the_model(other, tmp_path)


def ask_the_model(told: cl_bench.Results, tmp_path: Path) -> None:
    import numpy as np
    import torch
    from PIL import Image

    model = cl_bench.load_model(told, seed=0)
    assert repr(model) == "<Model of tiny: Shrinking[weight=3.0], cls>seg, seed 0>"
    assert set(model.tasks) == {"seg", "det", "cls"}
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    found = model.predict(tmp_path / "photo.png")
    seg, cls, det = found["seg"], found["cls"], found["det"]
    assert seg.mask.shape == (30, 40)  # type: ignore[union-attr]
    assert sum(seg.share(name) for name in seg.classes) == pytest.approx(1)  # type: ignore[union-attr]
    assert cls.label == max(cls.scores, key=cls.scores.__getitem__)  # type: ignore[union-attr]
    assert det.boxes.shape == (len(det), 4)  # type: ignore[union-attr, arg-type]
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    for same in (Image.fromarray(pixels), pixels, tensor, tensor / 255, str(tmp_path / "photo.png")):
        again = model.predict(same)
        assert again["cls"] == cls
        assert (again["seg"].mask == seg.mask).all()  # type: ignore[union-attr]
    assert "leave Normalize out" in message(model.predict, tensor / 255 - 1)
    assert "of shape (30, 40, 7)" in message(model.predict, np.zeros((30, 40, 7), np.uint8))
    assert "name one with strategy=" not in message(cl_bench.load_model, told, "kd")


@pytest.mark.slow
def test_a_stage_that_fails_is_raised_when_all_else_is_kept(results: Path) -> None:
    with pytest.raises(cl_bench.StageFailedError) as caught:
        cl_bench.run(CLS, strategies=["naive", raising])
    said = str(caught.value)
    assert said.startswith("cls with raising, seed 0 failed: RuntimeError: boom and more")
    assert said.endswith(f"; what else was trained is kept in {results / 'tiny'}")
    assert "\n" not in said
    kept = cl_bench.run(CLS, strategies=["naive", raising], on_failure="keep")
    assert len(kept.failures) == 1
    assert set(kept[kept["strategy"] == "naive"]["status"]) == {"done"}
    assert set(kept[kept["strategy"] == "raising"]["status"]) == {"failed"}
    assert "unknown on_failure 'ignore'" in message(cl_bench.run, CLS, on_failure="ignore")
