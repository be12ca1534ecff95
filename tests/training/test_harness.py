"""Guards on the training loop: what moves, what must not, and what decides a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spy import Spy

from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train
from cl_bench.strategies.kd import Distillation
from cl_bench.strategies.replay import Replay
from cl_bench.training.harness import Harness
from cl_bench.training.schedule import InterleavedBatchSampler, StageSettings
from cl_bench.utils.hashing import digest


def test_naive_leaves_inactive_predictors_byte_for_byte(second_stage: Callable[..., Spy]) -> None:
    spy = second_stage("naive", weight_decay=0.1)
    assert spy.first["det"] != spy.last["det"]
    assert {name: spy.first[name] for name in ("seg", "cls")} == {name: spy.last[name] for name in ("seg", "cls")}


@pytest.mark.parametrize("strategy", ["kd", "replay", "kd+replay"])
def test_strategies_move_past_predictors_but_not_future_ones(second_stage: Callable[..., Spy], strategy: str) -> None:
    spy = second_stage(strategy, weight_decay=0.1)
    assert spy.first["seg"] != spy.last["seg"]
    assert spy.first["cls"] == spy.last["cls"]


@pytest.mark.parametrize("strategy", ["naive", "kd", "replay", "kd+replay"])
def test_batch_norm_moves_once_a_step(second_stage: Callable[..., Spy], strategy: str) -> None:
    spy = second_stage(strategy)
    assert spy.batches[1] - spy.batches[0] == len(spy.seen) == 6


def test_memory_of_another_image_size_leaves_batch_norm_alone(second_stage: Callable[..., Spy], tiny: Any) -> None:
    from conftest import TINY

    tasks = [{**task, "image_size": 96} if task["name"] == "seg" else task for task in TINY["tasks"]]
    spy = second_stage("kd+replay", tasks=tasks)
    assert spy.batches[1] - spy.batches[0] == len(spy.seen) == 6
    assert spy.first["seg"] != spy.last["seg"], "the memory batch of 96 px was not trained on"


def test_what_looks_at_the_data_once_more_at_a_stages_end_leaves_the_statistics_that_were_scored(
    second_stage: Callable[..., Spy],
) -> None:
    seen: list[str] = []

    class Look(Spy):
        def after_training_exp(self, strategy: Harness, **_: Any) -> None:
            seen.append(digest(strategy.model.state_dict()))
            strategy.model.train()(torch.rand(2, 3, 64, 64))
            seen.append(digest(strategy.model.state_dict()))

    second_stage("naive", Look())
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_the_teacher_does_not_change(second_stage: Callable[..., Spy], monkeypatch: pytest.MonkeyPatch) -> None:
    teachers: list[tuple[str, bool]] = []

    class Watch(Spy):
        def after_update(self, strategy: Harness, **_: Any) -> None:
            assert strategy.teacher is not None
            teachers.append((digest(strategy.teacher.state_dict()), strategy.teacher.training))

    second_stage("kd", Watch())
    assert len(teachers) == 6
    assert len(set(teachers)) == 1
    assert teachers[0][1] is False


def test_distillation_is_zero_where_student_and_teacher_agree(second_stage: Callable[..., Spy]) -> None:
    terms: list[float] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            images = torch.stack([strategy.current[0][i][0] for i in range(4)])
            strategy.model.eval()
            assert strategy.teacher is not None
            terms.append(self.term(strategy, strategy.model.features(images), strategy.teacher.features(images)))
            strategy.model.train()

        def before_backward(self, strategy: Harness, **_: Any) -> None:
            terms.append(self.term(strategy, strategy.passes[0][1], strategy.teacher_features()[0]))

        @torch.no_grad()
        def term(self, strategy: Harness, *seen: Any) -> float:
            kd = next(plugin for plugin in strategy.plugins if isinstance(plugin, Distillation))
            return float(kd.term(strategy, *seen))

    second_stage("kd", Watch())
    assert terms[0] == pytest.approx(0.0, abs=1e-6)
    assert all(term > 1e-5 for term in terms[1:])


def test_kd_covers_only_tasks_the_teacher_learnt(second_stage: Callable[..., Spy]) -> None:
    tasks: list[list[str]] = []

    class Watch(Spy):
        def before_update(self, strategy: Harness, **_: Any) -> None:
            tasks.append([task.name for task in strategy.past_tasks])
            assert strategy.model.predictors["cls"].logits.weight.grad is None

    second_stage("kd", Watch())
    assert tasks == [["seg"]] * 6


def test_replay_adds_one_batch_of_the_stage_size_and_records_its_images(second_stage: Callable[..., Spy]) -> None:
    stored: list[Any] = []

    class Watch(Spy):
        def after_training_exp(self, strategy: Harness, **_: Any) -> None:
            stored.append(strategy.report["memory"])
            super().after_training_exp(strategy)

    spy = second_stage("replay[memory=3]", Watch())
    assert spy.seen == [[1] * 4 + [0] * 4] * 6
    assert list(stored[0]) == ["seg"]
    assert len(set(stored[0]["seg"])) == 3


def test_the_memory_depends_on_seed_and_task_alone() -> None:
    from cl_bench.utils.randomness import permutation

    assert permutation(50, 0, "memory", "seg")[:10] == permutation(50, 0, "memory", "seg")[:10]
    assert permutation(50, 0, "memory", "seg")[:10] != permutation(50, 1, "memory", "seg")[:10]
    assert Replay(10).memory.size == 10


SETTINGS = StageSettings(
    learning_rate=1.0,
    epochs={"a": 4},
    batch_sizes={"a": 4},
    first_epoch=0,
    total_epochs=4,
    evaluation_batch=4,
    evaluate_every=1,
    seed=0,
)


def changed(**changes: Any) -> StageSettings:
    return SETTINGS.model_copy(update=changes)


def test_the_cosine_is_stepped_per_epoch_and_spans_stage_or_run() -> None:
    assert [SETTINGS.rate(e, 10 * e) for e in range(4)] == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)
    second = changed(first_epoch=4, total_epochs=8)
    assert second.rate(0, 0) == pytest.approx(0.5)
    assert second.rate(3, 30) < second.rate(0, 0)


def test_the_warm_up_rises_linearly_to_the_cosine() -> None:
    warm = changed(warmup_steps=4)
    assert [warm.rate(0, step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert warm.rate(1, 9) == SETTINGS.rate(1, 9)


class _Fake:
    """Enough of a data set for the sampler."""

    def __init__(self, name: str, length: int) -> None:
        self.task = type("T", (), {"name": name, "randomness": name})()
        self.length = length

    def __len__(self) -> int:
        return self.length


def test_the_order_of_images_depends_on_seed_task_visit_and_epoch() -> None:
    def order(settings: StageSettings, epoch: int = 0) -> list[list[int]]:
        sampler = InterleavedBatchSampler([_Fake("a", 10)], settings)  # type: ignore[list-item]
        sampler.epoch = epoch
        return list(sampler)

    assert order(SETTINGS) == order(SETTINGS)
    assert sorted(i for batch in order(SETTINGS) for i in batch) == list(range(10))
    others = [order(SETTINGS, 1), order(changed(seed=1)), order(changed(visits={"a": 1}))]
    assert all(other != order(SETTINGS) for other in others)


def test_joint_batches_are_of_one_task_and_in_turn() -> None:
    both = changed(epochs={"a": 4, "b": 4}, batch_sizes={"a": 4, "b": 2})
    batches = list(InterleavedBatchSampler([_Fake("a", 8), _Fake("b", 4)], both))  # type: ignore[list-item]
    of = ["a" if batch[0] < 8 else "b" for batch in batches]
    assert of == ["a", "b", "a", "b"]
    assert all((index < 8) == (name == "a") for name, batch in zip(of, batches, strict=True) for index in batch)


def last_weights(path: str, **options: Any) -> dict[str, torch.Tensor]:
    """Train the one stage of an experiment and return its weights."""
    prepared = prepare(path, **options)
    (key,) = prepared.plan.stages
    assert not train(prepared)
    return prepared.store.weights(key)


@pytest.fixture
def one_stage(results: Path, tiny: Callable[..., str]) -> Callable[..., dict[str, torch.Tensor]]:
    """Return a function that trains the classification task alone, with changes, and returns its last weights."""
    return lambda **changes: last_weights(tiny(strategies=[], orders=[["cls"]], **changes))


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], prefix: str) -> bool:
    names = [name for name in before if name.startswith(prefix)]
    return any(not torch.equal(before[name], after[name]) for name in names)


def parameters_of_backbone(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in weights.items() if k.startswith("backbone.") and "running" not in k and "num_b" not in k}


def test_a_backbone_rate_of_zero_keeps_its_weights(one_stage: Callable[..., dict[str, torch.Tensor]]) -> None:
    still, slow = one_stage(backbone_rate=0.0, epochs=1), one_stage(backbone_rate=0.0, epochs=2)
    assert not moved(parameters_of_backbone(still), slow, "backbone.")
    assert moved(still, slow, "shared.")
    assert moved(parameters_of_backbone(still), one_stage(epochs=1), "backbone.")


def test_an_early_rate_of_zero_keeps_the_layers_up_to_stride_8(
    one_stage: Callable[..., dict[str, torch.Tensor]],
) -> None:
    still, longer, free = (one_stage(early_rate=rate, epochs=epochs) for rate, epochs in ((0.0, 1), (0.0, 2), (1.0, 1)))
    # Of test_efficientnet: the stem and three stages; the fourth has stride 16.
    early = ("backbone.conv_stem.", "backbone.bn1.", *(f"backbone.blocks.{stage}." for stage in range(3)))
    for prefix in early:
        assert not moved(still, longer, prefix), "statistics included"
        assert moved(still, free, prefix)
    late = {name for name in still if name.startswith("backbone.blocks.3.")}
    assert moved({n: v for n, v in still.items() if n in late and "running" in n}, longer, "backbone.blocks.3.")
    assert moved({n: v for n, v in still.items() if n in late and "running" not in n}, longer, "backbone.blocks.3.")


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights(
    one_stage: Callable[..., dict[str, torch.Tensor]],
) -> None:
    found = one_stage(batch_norm="frozen", epochs=1)
    means = [v for k, v in found.items() if k.endswith("running_mean")]
    assert means
    assert all((mean == 0).all() for mean in means), "as they were before training"
    assert any((v == 0).all() for k, v in one_stage(epochs=1).items() if k.endswith("running_mean")) is False


def test_a_clipped_step_is_no_longer_than_the_norm(second_stage: Callable[..., Spy]) -> None:
    norms: list[float] = []

    class Watch(Spy):
        def after_update(self, strategy: Harness, **_: Any) -> None:
            norms.append(
                float(
                    torch.nn.utils.get_total_norm([p.grad for p in strategy.model.parameters() if p.grad is not None])
                )
            )

    second_stage("naive", Watch())
    plain, limit = norms.copy(), min(norms) / 2
    norms.clear()
    second_stage("naive", Watch(), clip_norm=limit)
    assert min(plain) > limit
    assert norms == pytest.approx([limit] * 6, rel=1e-3)


def test_a_clipped_step_has_the_bits_of_pytorchs_own_clipping(second_stage: Callable[..., Spy]) -> None:
    compared = 0

    class Watch(Spy):
        def before_update(self, strategy: Harness, **_: Any) -> None:
            self.found = [p.grad.clone() for p in strategy.model.parameters() if p.grad is not None]

        def after_update(self, strategy: Harness, **_: Any) -> None:
            nonlocal compared
            wanted = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in self.found]
            for parameter, gradient in zip(wanted, self.found, strict=True):
                parameter.grad = gradient
            torch.nn.utils.clip_grad_norm_(wanted, 0.5)
            clipped = [p.grad for p in strategy.model.parameters() if p.grad is not None]
            assert all(torch.equal(a, b.grad) for a, b in zip(clipped, wanted, strict=True))
            compared += len(clipped)

    second_stage("naive", Watch(), clip_norm=0.5, backbone_rate=0.3, early_rate=0.1)
    assert compared > 100


def test_the_average_is_what_is_scored_and_kept(
    one_stage: Callable[..., dict[str, torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []
    plain = Harness.eval

    def watched(self: Harness, *arguments: Any, **options: Any) -> Any:
        assert self.average is not None
        scored.append(digest(self.model.state_dict()))
        assert scored[-1] == digest(self.average.module.state_dict())
        return plain(self, *arguments, **options)

    raw, close = one_stage(), one_stage(ema_decay=1e-9)
    monkeypatch.setattr(Harness, "eval", watched)
    far = one_stage(ema_decay=0.9)
    for name in raw:
        torch.testing.assert_close(raw[name], close[name])
    assert len(scored) == 2
    assert scored[-1] == digest(far)
    assert moved(raw, far, "shared.")
    assert not moved(raw, far, "predictors.seg"), "what is not trained is its own average"


def test_parameters_that_a_plug_in_adds_are_trained_and_averaged(second_stage: Callable[..., Spy]) -> None:
    seen: list[float] = []

    class Adding(Spy):
        def before_train_dataset_adaptation(self, strategy: Harness, **_: Any) -> None:
            strategy.model.added = torch.nn.Parameter(torch.ones(3))

        def before_backward(self, strategy: Harness, **_: Any) -> None:
            strategy.loss = strategy.loss + strategy.model.added.square().sum()

        def after_training_exp(self, strategy: Harness, **_: Any) -> None:
            seen.append(float(strategy.model.added.detach().max()))

    second_stage("naive", Adding(), backbone_rate=0.5, ema_decay=0.5)
    assert 0.9 < seen[0] < 1.0
