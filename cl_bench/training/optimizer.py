"""Parameter groups of the one optimizer: each has a factor of its own on the learning rate, its `scale`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from cl_bench.model.unified import UnifiedModel


def parameter_groups(model: UnifiedModel, backbone_rate: float, early_rate: float = 1.0) -> list[dict[str, Any]]:
    """Return all parameters but the backbone's (first, as plug-ins ask the first group), and the backbone's.

    early_rate: a further factor on the rate of the backbone's layers up to stride 8.
    """
    backbone = list(model.backbone.parameters())
    early = model.early_parameters() if early_rate != 1 else set()
    known = set(backbone)
    groups = [
        {"params": [p for p in model.parameters() if p not in known], "scale": 1.0},
        {"params": [p for p in backbone if p not in early], "scale": backbone_rate},
        {"params": [p for p in backbone if p in early], "scale": backbone_rate * early_rate},
    ]
    return [group for group in groups if group["params"]]


def regroup(optimizer: torch.optim.Optimizer, groups: Iterable[dict[str, Any]], **options: Any) -> None:
    """Let `optimizer` start afresh, without state, with `groups`; options: as weight_decay, for all of them."""
    optimizer.state.clear()
    optimizer.param_groups.clear()
    for group in groups:
        optimizer.add_param_group({**group, **options})


def scale_rate(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Let `parameters` learn `factor` times as fast as they did; 0 keeps them as they are."""
    chosen = set(parameters)
    for group in list(optimizer.param_groups):
        mine = [p for p in group["params"] if p in chosen]
        group["params"] = [p for p in group["params"] if p not in chosen]
        if mine:
            optimizer.add_param_group({**group, "params": mine, "scale": group["scale"] * factor})
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]


def limit_rate(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], most: float) -> None:
    """Let `parameters` learn at most `most` times as fast as the stage's learning rate; what is slower stays so."""
    chosen = set(parameters)
    for group in list(optimizer.param_groups):
        if group["scale"] > most:
            scale_rate(optimizer, chosen.intersection(group["params"]), most / group["scale"])


def freeze_rateless(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Have no gradients computed for what has a rate of 0, and return it."""
    groups = [group for group in optimizer.param_groups if group["scale"] == 0]
    frozen = [p for group in groups for p in group["params"] if p.requires_grad]
    for p in frozen:
        p.requires_grad_(False)
    return frozen
