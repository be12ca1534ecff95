"""The model card: parts, parameters and multiply-adds of an experiment's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import Experiment
from cl_bench.errors import UserError
from cl_bench.kinds.base import Task
from cl_bench.model.backbone import load_weights
from cl_bench.model.flops import FlopCounter
from cl_bench.model.trial import try_experiment
from cl_bench.model.unified import UnifiedModel, build_model
from cl_bench.tasks.catalog import make_task, read_task


@dataclass(frozen=True)
class Part:
    """One row of the card; multiply_adds: of one image at the experiment's size."""

    name: str
    parameters: int
    multiply_adds: int


def untrained_model(experiment: Experiment) -> UnifiedModel:
    """Return the experiment's model with random weights; needs neither a hub nor, where classes are named, the data."""
    layout = try_experiment(experiment)
    tasks = []
    for index, config in enumerate(experiment.tasks):
        if config.classes is not None:
            tasks.append(make_task(experiment, index, config, config.classes))
        else:
            tasks.append(read_task(experiment, index, config)[0])
    weights = load_weights(experiment.model.backbone, "none", layout)
    return build_model(experiment.model, tasks, weights, seed=0).eval()


def parts_of(model: UnifiedModel, image_size: int) -> list[Part]:
    """Count what each part holds, and what it does for one image of `image_size` in one forward pass."""
    done: dict[str, int] = {}
    counter = FlopCounter()
    hooks = []
    for name, part in model.parts().items():

        def before(*_: object, name: str = name) -> None:
            done[name] = done.get(name, 0) - counter.total

        def after(*_: object, name: str = name) -> None:
            done[name] += counter.total

        hooks += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    with torch.no_grad(), counter:
        model(torch.zeros(1, 3, image_size, image_size))
    for hook in hooks:
        hook.remove()
    # A multiply-add is two floating-point operations.
    return [Part(name, count_parameters(part), done[name] // 2) for name, part in model.parts().items()]


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters; buffers are none."""
    return sum(parameter.numel() for parameter in module.parameters())


def model_card(name_or_path: str, changes: Sequence[str] = ()) -> str:
    """Return the card of an experiment's model as text."""
    experiment = load_experiment(name_or_path, changes)
    model = untrained_model(experiment)
    sizes = {task.image_size for task in model.tasks}
    if len(sizes) > 1:
        raise UserError(
            f"the tasks of {experiment.name} have image sizes {sorted(sizes)}; set one with --set image_size=N"
        )
    size = sizes.pop()
    parts = parts_of(model, size)
    total = Part("total", sum(p.parameters for p in parts), sum(p.multiply_adds for p in parts))
    lines = [
        f"{experiment.name}: {experiment.model.backbone}, one {size}x{size} image",
        "",
        f"{'part':<28}{'parameters':>12}{'multiply-adds':>18}  output",
    ]
    outputs = {f"{task.name} predictor": _output_text(task) for task in model.tasks}
    for part in [*parts, total]:
        lines.append(
            f"{part.name:<28}{part.parameters:>12,}{part.multiply_adds:>18,}  {outputs.get(part.name, '')}".rstrip()
        )
    if total.parameters != count_parameters(model):
        raise AssertionError("the parts do not add up to the model")
    return "\n".join(lines)


def _output_text(task: Task) -> str:
    strides = "+".join(map(str, task.levels))
    return f"{task.kind.name}, {len(task.classes)} classes, {task.predictor}, stride {strides}"
