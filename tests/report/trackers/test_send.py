"""Trackers get what the rows hold, once, whoever trained the stages."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import message
from synthetic import plausible

from cl_bench.api.run import run as run_experiment
from cl_bench.metrics import continual
from cl_bench.report.trackers.base import tracked
from cl_bench.report.trackers.send import check_trackers, send_results
from cl_bench.results.rows import read_results


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)
    for name in ("WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return plausible(tmp_path, strategies=("naive", "kd"), seeds=(0, 1), epochs=2).write()


def scores(results: pd.DataFrame, strategy: str, seed: int) -> dict[tuple[str, int], float]:
    """Every score of a run: ("seg/mIoU", epochs since it began) -> value."""
    rows = results.rows
    part = rows[(rows["strategy"] == strategy) & (rows["seed"] == seed)]
    return {(f"{row['task']}/{row['metric']}", row["step"]): row["value"] for row in part.to_dict("records")}


def test_a_run_has_its_scores_and_its_drops_from_the_baseline_of_its_seed(folder: Path) -> None:
    results = read_results(folder)
    content = tracked(results)
    assert len(content.runs) == 2 * 2 + 3 * 2  # two strategies and three baselines, two seeds
    assert len({run.run_id for run in content.runs}) == len(content.runs)
    (run,) = (run for run in content.runs if run.name == "kd seg>det>cls seed 1")
    assert (run.settings["strategy"], run.settings["seed"]) == ("kd", 1)
    found = {(name, step): value for step, values in run.history.items() for name, value in values.items()}
    expected = scores(results, "kd", 1)
    assert {key: value for key, value in found.items() if not key[0].endswith("drop")} == expected
    rows = results.rows
    alone = rows[(rows["strategy"] == "baseline") & (rows["seed"] == 1) & rows["last"]]
    single = alone[alone["metric"] == "mIoU"]["value"].item()
    assert found["seg/drop", 6] == continual.relative_drop(single, expected["seg/mIoU", 6])
    assert run.final["seg/mIoU"] == expected["seg/mIoU", 6]
    assert "| strategy | seg mIoU ↑ |" in content.table
    assert "quickstart: seeds 0, 1;" in content.table


def test_a_run_that_is_not_finished_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)
    whole = plausible(tmp_path, strategies=("naive", "kd"), seeds=(0,), epochs=2)
    results = read_results(whole.write(without=["kd-seg-det-cls-0"]))
    assert [run.name for run in tracked(results).runs if "kd" in run.name] == []
    assert [run.name for run in tracked(results).runs if "naive" in run.name] == ["naive seg>det>cls seed 0"]


def test_scores_on_the_test_part_stand_at_the_ends_of_stages(tmp_path: Path, folder: Path) -> None:
    experiment = plausible(tmp_path, strategies=("naive", "kd"), seeds=(0, 1), epochs=2)
    before = {run.name: run for run in tracked(read_results(folder)).runs}
    experiment.add_tests(shift=-0.1).excess = {"det": 0.01}
    results = read_results(experiment.write())
    content = tracked(results)
    for run in content.runs:
        tests = {name for values in run.history.values() for name in values if "/test " in name}
        own = {step: {k: v for k, v in values.items() if k not in tests} for step, values in run.history.items()}
        assert own == before[run.name].history, "val's names and values stay"
        assert run.run_id != before[run.name].run_id, "there is more to send"
        assert not any("excess" in name for name in tests)
    (run,) = (run for run in content.runs if run.name == "kd seg>det>cls seed 1")
    assert [step for step in run.history if "seg/test mIoU" in run.history[step]] == [2, 4, 6]
    rows = results.rows
    ends = rows[(rows["split"] == "test") & (rows["metric"] == "mIoU") & (rows["seed"] == 1)]
    single = ends.loc[ends["strategy"] == "baseline", "value"].item()
    final = ends.loc[(ends["strategy"] == "kd") & (ends["step"] == 6), "value"].item()
    assert run.history[6]["seg/test mIoU"] == final == pytest.approx(run.history[6]["seg/mIoU"] - 0.1)
    assert run.history[6]["seg/test drop"] == continual.relative_drop(single, final)
    assert set(content.summary["split"]) == {"test"}
    assert "test part, " in content.table
    of_val = tracked(results, split="val")
    assert set(of_val.summary["split"]) == {"val"}
    assert [run.run_id for run in of_val.runs] == [run.run_id for run in content.runs], "what is sent is the same"


def test_a_run_that_is_not_scored_on_its_test_part_is_sent(tmp_path: Path, folder: Path) -> None:
    experiment = plausible(tmp_path, strategies=("naive", "kd"), seeds=(0, 1), epochs=2)
    before = {run.name: run for run in tracked(read_results(folder)).runs}
    results = read_results(experiment.add_tests(unscored=experiment.stages).write())
    assert {run.name: run for run in tracked(results).runs} == before


def test_tensorboard(folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert send_results(folder, ["tensorboard"]) == {"tensorboard": str(folder / "tensorboard")}
    written = sorted((folder / "tensorboard").rglob("events*"))
    send_results(folder, ["tensorboard"])
    again = sorted((folder / "tensorboard").rglob("events*"))
    assert [path for path in written if "overview" not in str(path)] == [
        path for path in again if "overview" not in str(path)
    ]
    assert len(again) == len(written) == 11
    (run,) = (path for path in (folder / "tensorboard").iterdir() if path.name.startswith("kd_seg>det>cls_seed_1"))
    events = EventAccumulator(str(run))
    events.Reload()
    for (name, step), value in scores(read_results(folder), "kd", 1).items():
        assert {event.step: event.value for event in events.Scalars(name)}[step] == pytest.approx(value)
    overview = EventAccumulator(str(folder / "tensorboard" / "overview"))
    overview.Reload()
    assert overview.Tags()["images"] == ["curves"]


def wandb_records(content: bytes) -> Iterator[Any]:
    """Read W&B's file: after 7 bytes LevelDB's log format, blocks of 32 kB with pieces of records."""
    from wandb.proto import wandb_internal_pb2

    position, whole = 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, piece = struct.unpack_from("<HB", content, position + 4)
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if piece in (1, 4):  # a whole record, or the last piece of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def test_wandb_offline(folder: Path) -> None:
    send_results(folder, ["wandb"])
    assert send_results(folder, ["wandb"]) == {"wandb": str(folder / "wandb")}
    results = read_results(folder)
    for run in tracked(results).runs:
        (place,) = (folder / "wandb").glob(f"offline-run-*-{run.run_id}")
        (file,) = place.glob("*.wandb")
        logged = {}
        for record in wandb_records(file.read_bytes()):
            for item in record.history.item:
                logged["/".join(item.nested_key) or item.key, record.history.step.num] = item.value_json
        expected = {(name, step): value for step, values in run.history.items() for name, value in values.items()}
        assert {key: float(logged[key]) for key in expected} == pytest.approx(expected)


def test_an_address_is_shown_without_its_password() -> None:
    pytest.importorskip("mlflow")
    from cl_bench.report.trackers.mlflow import without_password

    assert without_password("postgresql://me:secret@host:5432/runs") == "postgresql://host:5432/runs"
    assert without_password("sqlite:////a/b@c/mlflow.db") == "sqlite:////a/b@c/mlflow.db"


def test_mlflow_in_a_local_store(folder: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    send_results(folder, ["mlflow"])
    (place,) = send_results(folder, ["mlflow"]).values()
    assert place == f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}"
    client = MlflowClient(place)
    experiment = client.get_experiment_by_name("quickstart")
    runs = client.search_runs([experiment.experiment_id], "attributes.run_name != 'overview'")
    assert len(runs) == 10
    (run,) = (run for run in runs if run.info.run_name == "kd seg>det>cls seed 1")
    assert run.data.params["strategy"] == "kd"
    assert run.data.params["schedule"] == "per_stage"
    for name in ("seg/mIoU", "det/AP50", "cls/Top-5"):
        logged = {(name, metric.step): metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        assert logged == {key: value for key, value in scores(read_results(folder), "kd", 1).items() if key[0] == name}
    (overview, _) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'overview'")
    assert {file.path for file in client.list_artifacts(overview.info.run_id)} == {"curves.png", "table.md"}


def test_unknown_trackers_and_those_that_fail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unknown tracker 'tensorbord'; did you mean 'tensorboard'?" in message(check_trackers, ["tensorbord"])
    monkeypatch.setitem(sys.modules, "cl_bench.report.trackers.wandb", None)
    assert "pip install cl-bench[track]" in message(check_trackers, ["wandb"])
    (folder / "tensorboard").write_text("a file where the folder should be")
    said = message(send_results, folder, ["tensorboard"])
    assert "tracker tensorboard did not take the results of quickstart, which are stored" in said
    assert said.endswith("cl-bench track quickstart tensorboard")


def test_a_run_that_trains_nothing_is_tracked_too(tiny: Callable[..., str], results: Path) -> None:
    run_experiment(tiny(orders=[["cls"]]))
    assert not (results / "tiny" / "tensorboard").exists()
    run_experiment(tiny(orders=[["cls"]], trackers=["tensorboard"]))
    names = {path.name.rsplit("-", 1)[0] for path in (results / "tiny" / "tensorboard").iterdir()}
    assert names == {"baseline_cls_seed_0", "naive_cls_seed_0", "overview"}


def test_a_run_has_another_identity_once_its_drops_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)
    whole = plausible(tmp_path, strategies=("kd",), seeds=(0,), epochs=2)
    found = [
        {run.name: run for run in tracked(read_results(whole.write(without=gone))).runs}["kd seg>det>cls seed 0"]
        for gone in (["first-cls-0"], [])
    ]
    assert ["cls/drop" in run.final for run in found] == [False, True]
    assert found[0].run_id != found[1].run_id


def test_scores_inside_epochs_have_whole_steps_of_their_own(folder: Path) -> None:
    results = read_results(folder)
    rows = results.rows.assign(step=results.rows["step"] / 2)
    (run,) = (run for run in tracked(replace(results, rows=rows)).runs if run.name == "kd seg>det>cls seed 1")
    assert list(run.history) == [500, 1000, 1500, 2000, 2500, 3000]
    assert all(isinstance(step, int) for step in run.history)
