"""Stopped between two epochs and taken up again: the bits of a stage without a break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kept import Kept

from cl_bench.runner.prepare import prepare
from cl_bench.stages.trainer import Trainer
from cl_bench.training.harness import Harness

STEPS = {
    **{"warmup_steps": 3, "clip_norm": 5.0, "ema_decay": 0.9, "epochs": 3, "weight_decay": 0.1},
    "augment": {"flip": True, "zoom": [0.7, 1.5], "oversize": 1.5},
}


class StopError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def stage(
    tiny: Callable[..., str], kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Return a function that trains seg, then det, with stops after some epochs of det; returns all that is kept."""

    def train(folder: str, strategy: str, stops: list[int], **changes: Any) -> dict[str, Any]:
        monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / folder))
        path = tiny(orders=[["seg", "det"]], **{**STEPS, **changes})
        prepared = prepare(path, strategies=[strategy])
        trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
        first, second = prepared.plan.runs[0].stages
        kept.begin(trainer, prepared.plan, first)
        plain = Harness._before_training_epoch
        for stop in stops:

            def stopping(self: Harness, *, stop: int = stop, **options: Any) -> None:
                if self.epoch == stop:
                    raise StopError
                started.append(self.epoch)
                plain(self, **options)

            monkeypatch.setattr(Harness, "_before_training_epoch", stopping)
            with pytest.raises(StopError):
                trainer.train(prepared.plan, [second])
        monkeypatch.setattr(Harness, "_before_training_epoch", plain)
        trainer.train(prepared.plan, [second])
        store = prepared.store
        assert not list(store.checkpoints.folder.glob("*")), "a stage that is done leaves no checkpoint"
        rows = (store.folder(second) / "evaluations.csv").read_text()
        losses = [line.rpartition(",")[0] for line in (store.folder(second) / "training.csv").read_text().splitlines()]
        found = {"weights": store.weights(second), "states": store.states(second), "rows": rows, "losses": losses}
        return {**found, "flops": store.describe(second)["cost"]["training_flops"]}

    started: list[int] = []
    train.started = started  # type: ignore[attr-defined]
    return train


@pytest.mark.parametrize(
    "strategy",
    ["naive", "kd+replay", "si", "der[beta=0.5]+ewc[images=3]", "fdr", "agem+wise_ft+layer_rates"],
)
def test_a_stopped_stage_goes_on_to_the_same_bits(stage: Any, strategy: str) -> None:
    whole = stage("whole", strategy, [])
    parts = stage("parts", strategy, [1, 2])
    assert stage.started == [0, 1], "an epoch was trained twice"
    assert parts["rows"] == whole["rows"]
    assert parts["losses"] == whole["losses"]
    assert parts["flops"] == whole["flops"] > 0
    assert len(whole["rows"].splitlines()) == 1 + 3 * 3, "mIoU, AP50 and AP an epoch"
    for kind in ("weights", "states"):
        assert parts[kind].keys() == whole[kind].keys()
        assert all(torch.equal(parts[kind][name], tensor) for name, tensor in whole[kind].items())


def test_what_draws_from_the_global_streams_goes_on_where_it_was(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    import numpy as np

    drawn: dict[str, list[tuple[float, ...]]] = {"whole": [], "parts": []}
    plain = Harness._before_training_iteration
    for folder, stops in (("whole", []), ("parts", [1])):

        def drawing(self: Harness, *, folder: str = folder, **options: Any) -> None:
            if self.past:
                one = (float(torch.rand(())), float(np.random.random()), random.random())  # noqa: NPY002
                drawn[folder].append(one)
            plain(self, **options)

        monkeypatch.setattr(Harness, "_before_training_iteration", drawing)
        stage(folder, "naive", stops)
    assert len(set(drawn["whole"])) == 9
    assert drawn["parts"] == drawn["whole"]


def test_a_torn_checkpoint_is_no_checkpoint(stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cl_bench.results.store.checkpoints import Checkpoints

    whole = stage("whole", "naive", [])
    load = Checkpoints.load

    def damaged(self: Checkpoints, key: str) -> Any:
        path = self.path(key)
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(bytes(content))
        return load(self, key)

    monkeypatch.setattr(Checkpoints, "load", damaged)
    parts = stage("parts", "naive", [2])
    assert stage.started == [0, 1]
    assert parts["rows"] == whole["rows"]
    path = Checkpoints(tmp_path).path("torn")
    path.write_bytes(b"no safetensors")
    assert Checkpoints(tmp_path).load("torn") is None
    assert Checkpoints(tmp_path).load("absent") is None


def test_a_plug_in_from_elsewhere_that_keeps_nothing_starts_its_stage_anew(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avalanche.core import SupervisedPlugin

    from cl_bench.plugins.registry import strategies, strategy

    class Elsewhere(SupervisedPlugin):
        acts_from = 2

    monkeypatch.setattr(strategies, "entries", {name: strategies.get(name) for name in strategies})
    strategy("elsewhere")(lambda: [Elsewhere()])
    parts = stage("parts", "elsewhere", [1])
    assert stage.started == [0]
    assert parts["rows"] == stage("whole", "naive", [])["rows"]
