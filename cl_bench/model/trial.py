"""Whether a backbone can serve, found out before anything else, and which ones can in place of one that cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import islice

import timm
import torch

from cl_bench.config.schema import Experiment
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.model.maps import Layout, UnfitError, measure
from cl_bench.utils.randomness import isolated

_NAMED_ALIKE = 4
"""Backbones that are tried for being named alike: a trial takes half a second, and families fail as a whole."""
_PLAIN = {
    "mobilenetv3_small_050": 1.6e6,
    "mobilenetv4_conv_small": 3.8e6,
    "efficientnet_b0": 5.3e6,
    "resnet18": 11.7e6,
    "resnet50": 25.6e6,
    "resnet101": 44.5e6,
    "convnext_base": 88.6e6,
    "convnext_large": 197.8e6,
}
"""Parameters of backbones that take images of any size, as timm counts them for ImageNet."""


def try_experiment(experiment: Experiment) -> Layout:
    """Run the experiment's backbone once at its image sizes; UserError where it cannot serve, with three that can."""
    return try_backbone(experiment.model.backbone, [experiment.protocol(task).image_size for task in experiment.tasks])


def try_backbone(name: str, sides: Sequence[int] = ()) -> Layout:
    """Run timm's backbone `name` once, with images of `sides` pixels (none: as timm has it), and return its layout.

    It takes a small one a tenth of a second or two, whatever the sides. Raises UserError where it cannot serve, with
    three that can.
    """
    return _tried(name, tuple(sorted(set(sides))))


@cache
def _tried(name: str, sides: tuple[int, ...]) -> Layout:
    if name not in timm.list_models():
        raise unknown_name_error("backbone", name, timm.list_models())
    try:
        return measure(name, sides)
    except UnfitError as error:
        at = f" at {' and '.join(map(str, sides))} pixels" if sides else ""
        others = ", ".join(islice(_others(name, sides), 3))
        raise UserError(f"backbone {name} cannot serve{at}: {error}; ones that can: {others}") from error


def _others(name: str, sides: tuple[int, ...]) -> Iterator[str]:
    """Yield backbones that can serve: first those with names like `name`, then those of its size."""
    alike = get_close_matches(name, [other for other in timm.list_models() if other != name], _NAMED_ALIKE)
    size = _parameters(name)
    plain = sorted(_PLAIN, key=lambda other: abs(math.log(_PLAIN[other] / size)))
    for other in dict.fromkeys((*alike, *plain)):
        try:
            measure(other, sides)
        except UnfitError:
            continue
        yield other


def _parameters(name: str) -> int:
    with isolated(), torch.device("meta"):
        try:
            return sum(parameter.numel() for parameter in timm.create_model(name).parameters())
        except Exception:  # what cannot be built has no size; then the smallest will do
            return 1
