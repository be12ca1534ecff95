"""Where an experiment stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import plausible

from cl_bench.report.status import render, status
from cl_bench.results.export import export
from cl_bench.results.store.failures import Failure, Failures
from cl_bench.results.store.json_files import write_json
from cl_bench.runner.plan_record import describe_plan
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.stages.trainer import Trainer
from cl_bench.training.harness import Harness


def test_every_state_is_told_apart(tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(tiny(orders=[["seg", "det", "cls"]]), strategies=["naive", "kd"])
    prepared.folder.mkdir()
    write_json(prepared.folder / "plan.json", describe_plan(prepared))
    naive, kd = (run.stages for run in prepared.plan.runs)
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
    trainer.train(prepared.plan, naive[:1])
    plain = Harness._before_training_epoch

    def stop(self: Harness, **options: object) -> None:
        if self.epoch:
            raise KeyboardInterrupt
        plain(self, **options)

    monkeypatch.setattr(Harness, "_before_training_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(prepared.plan, naive[1:2])
    Failures(results).add(kd[1], Failure("raised", "boom"))
    Failures(results).add(kd[2], Failure("skipped", "its ancestor failed"))
    with prepared.store.claim(prepared.plan.baseline("cls", 0)):
        found = {stage.key: (stage.state, stage.detail) for stage in status(prepared.folder)}
    assert found == {
        naive[0]: ("done", ""),
        naive[1]: ("stopped", "1 of 2 epochs"),
        naive[2]: ("waiting", ""),
        kd[1]: ("failed", "raised: boom"),
        kd[2]: ("skipped", "skipped: its ancestor failed"),
        prepared.plan.baseline("det", 0): ("waiting", ""),
        prepared.plan.baseline("cls", 0): ("training", "0 of 2 epochs"),
    }
    shown = render(status(prepared.folder))
    assert shown.splitlines()[-1] == "7 stages: 1 done, 3 waiting, 1 stopped, 1 failed, 1 skipped"
    assert "det of kd (seg>det>cls), seed 0" in shown


def test_a_stage_whose_rows_alone_are_here_says_so(
    tiny: Callable[..., str],
    results: Path,
    with_stages: Callable[[Prepared], Prepared],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared = with_stages(prepare(tiny(), strategies=["naive"]))
    assert {stage.detail for stage in status(prepared.folder)} == {""}
    monkeypatch.setenv("CL_BENCH_STORE", str(results / "elsewhere"))
    found = status(prepared.folder)
    assert {stage.state for stage in found} == {"exported"}
    assert {stage.detail for stage in found} == {"rows alone, without weights: a run trains it"}


def test_what_is_not_scored_on_its_test_part_says_so(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = plausible(results, strategies=("naive",), seeds=(0,), epochs=1)
    last = experiment.plan["runs"][0]["stages"][-1]
    folder = experiment.add_tests(["seg", "det"], unscored=[last]).write()
    found = {stage.key: (stage.state, stage.detail) for stage in status(folder)}
    assert found.pop(last) == ("done", "not scored on test: seg, det")
    assert set(found.values()) == {("done", "")}
    experiment.tests[last] = {"seg": 0.1, "det": 0.1}
    experiment.write()
    export(folder)
    (results / "stages" / ".scores").rename(results / "elsewhere")
    assert {stage.detail for stage in status(folder)} == {""}, "what is exported is there"
