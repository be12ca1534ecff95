"""Equal bits: resumed = uninterrupted, shared = unshared, neutral = naive, whatever the executor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY
from processes import begin, ended, errors

from cl_bench.results.store.store import Store
from cl_bench.runner.executors.local import on_this_machine
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train as train_missing

pytestmark = pytest.mark.usefixtures("full_sizes")  # as the processes that are started have

EWC = "avalanche.training.plugins.EWCPlugin[ewc_lambda=0.5]"


STEPS = {
    **{"warmup_steps": 3, "clip_norm": 5.0, "ema_decay": 0.9, "backbone_rate": 0.5},
    "augment": {"flip": True, "zoom": [0.7, 1.5], "stretch": 1.2, "oversize": 1.5, "colour": 0.2},
}


def train(experiment: str, results: Path, strategies: list[str], workers: int = 1, **options: Any) -> Prepared:
    """Train into a results folder of its own and return what was planned."""
    os.environ["CL_BENCH_RESULTS"] = str(results)  # the `results` fixture puts it back
    prepared = prepare(experiment, strategies=strategies, **options)
    assert train_missing(prepared, on_this_machine(workers)) == {}
    return prepared


@pytest.fixture
def reference(tiny_path: str, tmp_path: Path, with_stages: Callable[[Prepared], Prepared]) -> Callable[..., Prepared]:
    """Return a function that has the tiny experiment in the folder `a`: what other trainings are held against.

    What another test has trained for it is not trained again.
    """

    def have(strategies: list[str], **options: Any) -> Prepared:
        os.environ["CL_BENCH_RESULTS"] = str(tmp_path / "a")
        return with_stages(prepare(tiny_path, strategies=strategies, **options))

    return have


def ends(prepared: Prepared, strategy: str) -> list[str]:
    """Return the hashes of the weights at the ends of a run's stages."""
    run = next(run for run in prepared.plan.runs if run.strategy == strategy)
    return [prepared.store.describe(key)["hashes"]["last"] for key in run.stages]


def artifacts(store: Store) -> dict[str, tuple[bytes, str]]:
    """Return the rows and the weights' hash of every stage."""
    return {
        stage["key"]: ((store.folder(stage["key"]) / "evaluations.csv").read_bytes(), stage["hashes"]["last"])
        for stage in store.stages()
    }


@pytest.fixture
def tiny_path(tiny: Callable[..., str], results: Path) -> str:
    """The tiny experiment with all that steps can do; results go to folders under this test's own."""
    return tiny(**STEPS)


def test_neutral_settings_equal_naive_bit_for_bit(reference: Callable[..., Prepared]) -> None:
    neutral = ["kd[weight=0.0]", "replay[memory=0]", "kd[weight=0.0]+replay[memory=0]"]
    prepared = reference(["naive", *neutral])
    for strategy in neutral:
        assert ends(prepared, strategy) == ends(prepared, "naive")
    keys = {run.strategy: run.stages for run in prepared.plan.runs}
    assert keys["kd[weight=0.0]"][1] != keys["naive"][1], "the term was skipped, not computed"


def test_strategies_differ_where_they_act_and_only_there(reference: Callable[..., Prepared]) -> None:
    prepared = reference(["naive", "kd", "replay", "kd+replay"])
    firsts = {ends(prepared, name)[0] for name in ("naive", "kd", "replay", "kd+replay")}
    lasts = {ends(prepared, name)[2] for name in ("naive", "kd", "replay", "kd+replay")}
    assert (len(firsts), len(lasts)) == (1, 4)


def test_extra_evaluations_change_no_bit(
    reference: Callable[..., Prepared], tiny: Callable[..., str], tmp_path: Path
) -> None:
    strategies = ["naive", "kd+replay"]
    often, rarely = reference(strategies), train(tiny(evaluate_every=0, **STEPS), tmp_path / "b", strategies)
    assert [ends(often, name) for name in strategies] == [ends(rarely, name) for name in strategies]
    assert often.store.scores(often.plan.runs[0].stages[-1]) == rarely.store.scores(rarely.plan.runs[0].stages[-1])


def test_five_evaluations_instead_of_one_change_no_bit(
    reference: Callable[..., Prepared], tiny_path: str, tmp_path: Path, monkeypatch: Any
) -> None:
    once = reference(["kd+replay"])
    from cl_bench.training.harness import Harness

    plain = Harness.eval

    def five_times(self: Harness, experiences: Any, **options: Any) -> Any:
        for _ in range(4):
            plain(self, experiences, **options)
            self.evaluator.metrics[0].reset()
        return plain(self, experiences, **options)

    monkeypatch.setattr(Harness, "eval", five_times)
    often = train(tiny_path, tmp_path / "b", ["kd+replay"])
    assert ends(once, "kd+replay") == ends(often, "kd+replay")


def test_two_workers_give_the_bits_of_one(reference: Callable[..., Prepared], tiny_path: str, tmp_path: Path) -> None:
    one = reference(["naive", "kd+replay"])
    two = train(tiny_path, tmp_path / "b", ["naive", "kd+replay"], workers=2)
    assert artifacts(one.store) == artifacts(two.store)
    assert len(artifacts(one.store)) == 7


def test_a_shared_stage_has_the_bits_of_an_unshared_one(
    reference: Callable[..., Prepared], tiny_path: str, tmp_path: Path
) -> None:
    shared = reference(["naive", "kd"])
    alone = train(tiny_path, tmp_path / "b", ["kd"], orders=[["seg", "det", "cls"]])
    assert ends(shared, "kd") == ends(alone, "kd")


def test_orders_share_initial_weights_and_the_order_of_images(reference: Callable[..., Prepared]) -> None:
    prepared = reference(["naive"], orders=[["seg", "det"], ["det", "seg"]])
    first = {stage["tasks"][0]: stage["hashes"]["first"] for stage in prepared.store.stages() if not stage["parent"]}
    assert first["seg"] == first["det"]


def test_tasks_that_share_their_streams_differ_in_nothing_but_their_settings(
    tiny: Callable[..., str], results: Path, tmp_path: Path
) -> None:
    cls: Any = TINY["tasks"][2]  # type: ignore[index]
    twins = [cls, {**cls, "name": "twin", "randomness": "cls"}, {**cls, "name": "other"}]
    prepared = train(tiny(**{**STEPS, "tasks": twins, "strategies": []}), tmp_path / "a", [])
    losses = {}
    for run in prepared.plan.baselines:
        text = (prepared.store.folder(run.stages[0]) / "training.csv").read_text()
        losses[run.order[0]] = [line.split(",")[2] for line in text.splitlines() if f",{run.order[0]}," in line]
    assert len(losses["cls"]) == 2
    assert losses["cls"] == losses["twin"]
    assert losses["cls"] != losses["other"]


def test_a_stage_starts_from_its_parents_last_weights(reference: Callable[..., Prepared]) -> None:
    prepared = reference(["kd+replay"])
    stages = {stage["key"]: stage for stage in prepared.store.stages()}
    children = [stage for stage in stages.values() if stage["parent"]]
    assert len(children) == 2
    assert all(stage["hashes"]["first"] == stages[stage["parent"]]["hashes"]["last"] for stage in children)


def test_killed_in_the_second_stage_and_run_again_gives_the_same_rows(
    reference: Callable[..., Prepared], tiny_path: str, tmp_path: Path
) -> None:
    whole = reference(["kd+replay"])
    code = f"import cl_bench; cl_bench.run({tiny_path!r}, strategies=['kd+replay'])"
    process = begin(code, tmp_path / "said.txt", CL_BENCH_RESULTS=str(tmp_path / "b"))
    store = Store(tmp_path / "b" / "stages")
    deadline = time.monotonic() + 120
    # Three baselines, the first of which is the run's first stage; then the second stage begins.
    while len(list(store.stages())) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    ended(process)
    kept = artifacts(store)
    times = {key: (store.folder(key) / "stage.json").stat().st_mtime_ns for key in kept}
    assert 3 <= len(kept) < 5
    train(tiny_path, tmp_path / "b", ["kd+replay"])
    assert artifacts(store) == artifacts(whole.store)
    assert {key: (store.folder(key) / "stage.json").stat().st_mtime_ns for key in kept} == times, "trained again"


def test_nothing_is_trained_twice(reference: Callable[..., Prepared], tiny_path: str) -> None:
    prepared = reference(["naive", "kd"])
    started: list[str] = []
    again = prepare(tiny_path, strategies=["naive", "kd", "kd+replay"])
    train_missing(again, report=lambda key, state: started.append(key) if state == "started" else None)
    assert len(started) == 2
    assert not set(started) & set(prepared.plan.stages)


def test_stock_ewc_runs_by_its_dotted_path_as_one_chain(reference: Callable[..., Prepared]) -> None:
    prepared = reference(["naive", EWC, EWC.replace("0.5", "0.0")])
    run = next(run for run in prepared.plan.runs if run.strategy == EWC)
    assert prepared.plan.stages[run.stages[1]].chain == run.stages
    assert ends(prepared, EWC.replace("0.5", "0.0")) == ends(prepared, "naive"), "EWC at 0 differs from naive"
    assert ends(prepared, EWC)[0] == ends(prepared, "naive")[0]
    assert ends(prepared, EWC)[1] != ends(prepared, "naive")[1], "the penalty is silently zero"


PLUGIN = """
from cl_bench import strategy
from cl_bench.strategies.kd import kd
@strategy("mine", summary="a strong kd")
def mine(weight: float = {weight}): return kd(weight=weight)
"""


def test_a_plugin_file_stands_in_the_table_and_trains_again_when_edited(
    reference: Callable[..., Prepared], tiny_path: str, tmp_path: Path
) -> None:
    reference(["naive"])
    file = tmp_path / "mine.py"
    code = (
        f"import cl_bench; path, plugin = {tiny_path!r}, {str(file)!r};"
        "found = cl_bench.run(path, strategies=['naive', 'mine'], plugin_files=[plugin]);"
        "print(sorted(set(found.strategy)), sorted(set(found[found.strategy == 'mine'].stage)))"
    )
    printed = []
    for weight in (3.0, 4.0):
        file.write_text(PLUGIN.format(weight=weight))
        said = tmp_path / f"{weight}.txt"
        assert ended(begin(code, said, CL_BENCH_RESULTS=str(tmp_path / "a"))) == 0, errors(said)
        printed.append(said.read_text().strip().splitlines()[-1])
    assert all(line.startswith("['baseline', 'mine', 'naive']") for line in printed)
    first, second = (set(line.split("] [")[1].strip("]").split(", ")) for line in printed)
    assert len(first & second) == 1, "only the first stage, in which it does not act, is kept"
    assert len(list(Store(tmp_path / "a" / "stages").stages())) == 3 + 2 + 2 + 2


def test_joint_is_one_stage_with_the_summed_budget(reference: Callable[..., Prepared]) -> None:
    prepared = reference(["joint"])
    (key,) = prepared.plan.runs[0].stages
    stage = prepared.plan.stages[key]
    assert stage.trained == ("seg", "det", "cls")
    assert prepared.steps(stage) == 3 * TINY["epochs"] * 3
    assert {task for task, _ in prepared.store.scores(key)} == {"seg", "det", "cls"}
