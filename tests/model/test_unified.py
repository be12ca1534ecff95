"""The model: its exact size, one pass for all outputs, and weights that depend on nothing but seed and part."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import Experiment, validate
from cl_bench.deploy.model_card import count_parameters, untrained_model
from cl_bench.kinds.base import Task
from cl_bench.model.backbone import Weights
from cl_bench.model.flops import FlopCounter
from cl_bench.model.pyramid import LEVELS
from cl_bench.model.trial import try_backbone
from cl_bench.model.unified import UnifiedModel, build_model, frozen_copy, frozen_statistics
from cl_bench.tasks.catalog import make_task
from cl_bench.utils.hashing import digest

SEG = {"name": "seg", "kind": "segmentation", "classes": ["background", "a", "b"], "data": {"format": "scenes"}}
DET = {"name": "det", "kind": "detection", "classes": ["a", "b"], "data": {"format": "scenes"}}
CLS = {"name": "cls", "kind": "classification", "classes": ["a", "b", "c", "d"], "data": {"format": "scenes"}}
SMALL = {"backbone": "mobilenetv3_small_050", "weights": "none", "neck_channels": 16, "shared_channels": 8}
LAYOUT = try_backbone("mobilenetv3_small_050", [64])
RANDOM = Weights(None, (0.5,) * 3, (0.5,) * 3, "none", LAYOUT)


def small(*configs: dict[str, object], seed: int = 0, **changes: object) -> UnifiedModel:
    experiment = validate({"name": "m", "tasks": list(configs), "model": SMALL, "image_size": 64, **changes}, "m")
    return build_model(experiment.model, tasks_of(experiment), RANDOM, seed).eval()


def tasks_of(experiment: Experiment) -> list[Task]:
    return [make_task(experiment, i, config, config.classes or ()) for i, config in enumerate(experiment.tasks)]


@pytest.fixture(scope="module")
def model() -> UnifiedModel:
    return small(SEG, DET, CLS)


def images(size: int = 64, count: int = 2) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draw)


def test_the_literal_model_has_exactly_the_specified_parameters() -> None:
    literal = untrained_model(load_experiment("unified_onehead"))
    assert {name: count_parameters(part) for name, part in literal.parts().items()} == {
        "backbone": 3_595_388,
        "neck": 503_552,
        "shared layer": 73_792,
        "seg predictor": 1_365,
        "det predictor": 390,
        "cls predictor": 650,
    }
    assert count_parameters(literal) == 4_175_137


def test_the_lite_model_and_its_outputs() -> None:
    lite = untrained_model(load_experiment("unified_onehead_lite", {"image_size": 128}))
    assert count_parameters(lite) == 3_538_597
    passes = []
    lite.backbone.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        outputs = lite(images(128))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "seg": (2, 21, 128, 128),
        "det": (2, 6, 4 * 4),  # stride 32: the 16x16 grid at 512
        "cls": (2, 10),
    }
    assert passes == [1]


def test_the_literal_grid_at_512_is_16() -> None:
    experiment = load_experiment("unified_onehead")
    assert [512 // level for task in tasks_of(experiment) for level in task.levels] == [64, 16, 16]
    assert [task.image_size for task in tasks_of(experiment)] == [512] * 3


def test_the_backbones_features_have_the_specified_channels() -> None:
    literal = untrained_model(load_experiment("unified_onehead"))
    assert literal.backbone.feature_info.channels() == [40, 112, 320]
    assert literal.backbone.feature_info.reduction() == [8, 16, 32]


def test_bytes_and_floats_give_the_same_outputs(model: UnifiedModel) -> None:
    with torch.no_grad():
        from_bytes, from_floats = model(images()), model(images().float() / 255)
    for name, output in from_bytes.items():
        torch.testing.assert_close(output, from_floats[name], msg=name)


def test_normalisation_happens_inside() -> None:
    experiment = validate({"name": "m", "tasks": [CLS], "model": SMALL, "image_size": 64}, "m")
    normalised = build_model(experiment.model, tasks_of(experiment), RANDOM, 0).eval()
    unscaled = Weights(None, (0.0,) * 3, (1.0,) * 3, "none", LAYOUT)
    plain = build_model(experiment.model, tasks_of(experiment), unscaled, 0).eval()
    x = images().float() / 255
    with torch.no_grad():
        torch.testing.assert_close(normalised(x)["cls"], plain((x - 0.5) / 0.5)["cls"])
    assert not any(name in normalised.state_dict() for name in ("mean", "std"))


def test_the_pyramid_has_a_level_for_every_stride(model: UnifiedModel) -> None:
    features = model.features(images(128))
    assert {level: tuple(features[level].shape) for level in LEVELS} == {
        8: (2, 8, 16, 16),
        16: (2, 8, 8, 8),
        32: (2, 8, 4, 4),
        64: (2, 8, 2, 2),
    }
    assert features[8] is features[8]
    assert features[8].min() >= 0, "the shared layer ends in a ReLU"


@pytest.mark.parametrize("learning", [True, False])
def test_levels_have_gradients_as_the_pass_had_whoever_asks_first(model: UnifiedModel, learning: bool) -> None:
    with torch.set_grad_enabled(learning):
        features = model.features(images(64))
    with torch.set_grad_enabled(not learning):
        assert features[8].requires_grad == learning


@pytest.mark.parametrize("level", LEVELS)
def test_any_level_feeds_any_task(level: int) -> None:
    with torch.no_grad():
        outputs = small(*({**config, "levels": level} for config in (SEG, DET, CLS)))(images())
    assert outputs["seg"].shape == (2, 3, 64, 64)
    assert outputs["det"].shape == (2, 7, (64 // level) ** 2)
    assert outputs["cls"].shape == (2, 4)


def test_several_levels_feed_one_predictor() -> None:
    model = small(*({**config, "levels": [8, 16, 64]} for config in (SEG, DET, CLS)))
    with torch.no_grad():
        outputs, features = model(images()), model.features(images())
        assert outputs["seg"].shape == (2, 3, 64, 64)
        assert outputs["det"].shape == (2, 7, 8**2 + 4**2 + 1)
        pooled = torch.stack([features[level].mean((2, 3)) for level in (8, 16, 64)]).mean(0)
        torch.testing.assert_close(outputs["cls"], model.predictors["cls"].logits(pooled))
    single = small(SEG, DET, CLS)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in single.parameters())


def test_frozen_batch_norm_stays_as_it_is_in_training() -> None:
    model = small(SEG, DET, CLS)
    before = digest(model.state_dict())
    model.norm_frozen = True
    model.train()
    with torch.no_grad():
        trained = model(images())["cls"]
        torch.testing.assert_close(model.eval()(images())["cls"], trained)
    assert digest(model.state_dict()) == before
    model.norm_frozen = False
    model.train()(images())
    assert digest(model.state_dict()) != before


def test_task_labels_choose_the_outputs(model: UnifiedModel) -> None:
    x, labels = images(count=4), torch.tensor([2, 0, 2, 2])
    with torch.no_grad():
        outputs, everything = model(x, labels), model(x)
    assert sorted(outputs) == [0, 2]
    assert outputs[0][0].tolist() == [1]
    assert outputs[2][0].tolist() == [0, 2, 3]
    torch.testing.assert_close(outputs[0][1], everything["seg"][[1]])
    torch.testing.assert_close(outputs[2][1], everything["cls"][[0, 2, 3]])


def digests(model: UnifiedModel) -> dict[str, str]:
    return {name: digest(part.state_dict()) for name, part in model.parts().items()}


def test_weights_of_a_part_depend_on_no_other_task_and_no_order(model: UnifiedModel) -> None:
    alone, turned = digests(small(CLS)), digests(small(CLS, SEG, DET))
    assert turned == digests(model)
    assert alone == {name: value for name, value in turned.items() if name in alone}
    assert len(alone) == 4


def test_another_seed_gives_other_weights_in_every_part(model: UnifiedModel) -> None:
    other = digests(small(SEG, DET, CLS, seed=1))
    assert all(other[name] != value for name, value in digests(model).items())
    assert digests(small(SEG, DET, CLS)) == digests(model)


def test_tasks_of_one_kind_start_from_different_predictors() -> None:
    twins = small(CLS, {**CLS, "name": "cls2"})
    assert not torch.equal(twins.predictors["cls"].logits.weight, twins.predictors["cls2"].logits.weight)


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    small(CLS)
    assert torch.equal(torch.get_rng_state(), before)


def test_given_weights_are_the_backbones() -> None:
    state = {name: value + 1 for name, value in small(CLS, seed=5).backbone.state_dict().items()}
    experiment = validate({"name": "m", "tasks": [CLS], "model": SMALL, "image_size": 64}, "m")
    loaded = build_model(experiment.model, tasks_of(experiment), Weights(state, (0.5,) * 3, (0.5,) * 3, "x", LAYOUT), 0)
    assert digest(loaded.backbone.state_dict()) == digest(state)


def test_frozen_statistics_normalise_as_in_training_without_moving() -> None:
    layer = nn.BatchNorm2d(3)
    x = 5 + torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    before = digest(layer.state_dict())
    with frozen_statistics(layer):
        frozen = layer(x)
    assert digest(layer.state_dict()) == before
    torch.testing.assert_close(layer(x), frozen)
    assert digest(layer.state_dict()) != before
    assert layer.track_running_stats


@pytest.mark.parametrize("active", [{0}, {2}, {0, 1, 2}])
def test_out_of_reach_is_what_gets_no_gradient(active: set[int]) -> None:
    # Level 8 of the neck serves segmentation alone, so other tasks must leave it as it is.
    model = small({**SEG, "levels": 8}, {**DET, "levels": 32}, {**CLS, "levels": 32})
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    with FlopCounter() as counter:  # a resumed stage asks once more, and costs what it would have
        found = {names[id(parameter)] for parameter in model.out_of_reach(frozenset(active))}
    assert counter.total == 0
    other = {f"predictors.{task.name}." for task in model.tasks if task.index not in active}
    assert {name for name in found if name.startswith("predictors.")} == {
        name for name in names.values() if name.startswith(tuple(other)) and other
    }
    assert any(name.startswith("neck.layer_blocks.0") for name in found) == (0 not in active)
    assert not any(name.startswith(("backbone.conv_stem", "shared.")) for name in found)


def test_a_frozen_copy_keeps_its_statistics_even_in_training_mode() -> None:
    student = small(SEG)
    teacher = frozen_copy(student)
    before = digest(teacher.state_dict())
    teacher.train()(images())
    assert digest(teacher.state_dict()) == before
    student.train()(images())
    assert digest(student.state_dict()) != before
