"""A stage between two epochs: everything that its remaining epochs depend on, as tensors and plain values."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cl_bench.results.store.checkpoints import Snapshot
from cl_bench.training import plugin_state


class Resumable(Protocol):
    """What a snapshot takes of a harness, and puts back."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: torch.optim.swa_utils.AveragedModel | None
    scaler: torch.amp.GradScaler
    device: torch.device
    plugins: Sequence[Any]
    clock: Any
    epoch: int
    step: int
    log: list[dict[str, float]]
    evaluation_seconds: float


def take(harness: Resumable) -> Snapshot:
    """Return parameters, buffers, optimizer, average, plug-ins, loss scale, random streams and counters."""
    tensors = _prefixed("model", harness.model.state_dict())
    names: dict[Tensor, str] = {p: name for name, p in harness.model.named_parameters()}
    for p, moments in harness.optimizer.state.items():
        tensors.update(_prefixed(f"optimizer/{names[p]}", moments))
    if harness.average is not None:
        tensors.update(_prefixed("average", harness.average.state_dict()))
    tensors["random/torch"] = torch.get_rng_state()
    if harness.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(harness.device)
    tensors.update(_prefixed("plug-ins", plugin_state.collect(harness.plugins)))
    kept = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    generator, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - plug-ins may draw from it
    values = {
        "epoch": harness.epoch,
        "step": harness.step,
        "log": harness.log,
        "evaluation_seconds": harness.evaluation_seconds,
        "clock": {name: value for name, value in vars(harness.clock).items() if isinstance(value, int)},
        "scale": harness.scaler.state_dict(),
        "random": {"python": random.getstate(), "numpy": [generator, np.asarray(keys).tolist(), *rest]},
    }
    return Snapshot(kept, json.loads(json.dumps(values)))


def put_back(harness: Resumable, snapshot: Snapshot) -> None:
    """Bring `harness`, at the start of the same stage, to where `snapshot` was taken."""
    tensors, values = snapshot.tensors, snapshot.values
    harness.model.load_state_dict(_under("model", tensors))
    harness.optimizer.state.clear()
    for name, p in harness.model.named_parameters():
        for moment, tensor in _under(f"optimizer/{name}", tensors).items():
            # Laid out in memory as the parameter is: the fused step goes through both side by side.
            like = torch.empty_like(p) if tensor.shape == p.shape else torch.empty_like(tensor, device=p.device)
            harness.optimizer.state[p][moment] = like.detach().copy_(tensor)
    plugin_state.restore(harness.plugins, _under("plug-ins", tensors))
    if harness.average is not None:
        harness.average.load_state_dict(_under("average", tensors))
    harness.scaler.load_state_dict(values["scale"])
    torch.set_rng_state(tensors["random/torch"])
    if harness.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random/cuda"], harness.device)
    version, internal, following = values["random"]["python"]
    random.setstate((version, tuple(internal), following))
    generator, keys, *rest = values["random"]["numpy"]
    np.random.set_state((generator, np.array(keys, np.uint32), *rest))  # noqa: NPY002
    for name, count in values["clock"].items():
        setattr(harness.clock, name, count)
    harness.epoch, harness.step = values["epoch"], values["step"]
    harness.log, harness.evaluation_seconds = values["log"], values["evaluation_seconds"]


def _prefixed(prefix: str, tensors: dict[Any, Any]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
