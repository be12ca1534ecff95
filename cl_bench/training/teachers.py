"""The other models of a stage, as strategies use them: the model as the stage found it, and single-task baselines."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_bench.model.frozen_layers import shared_layers
from cl_bench.model.pyramid import LEVELS
from cl_bench.model.unified import Features, UnifiedModel, frozen_copy
from cl_bench.tasks.dataset import TaskDataset


class Teachers:
    """Models of the form of `model`, frozen and in eval mode, each made when it is first asked for.

    experts: by task, what returns the weights of its baseline.
    """

    def __init__(self, model: UnifiedModel, experts: Mapping[str, Callable[[], dict[str, Tensor]]]) -> None:
        self._model = model
        self._weights = experts
        self._experts: dict[str, UnifiedModel] = {}
        self._same: dict[int, frozenset[str]] = {}
        self._stored: dict[int, FeatureCache] = {}
        self.in_use: UnifiedModel | None = None
        """The parent, where something has asked for it."""
        self.moved_on = False
        """Whether training has begun, so that the model is no longer as the stage found it."""

    def parent(self) -> UnifiedModel:
        """Return the model as the stage found it; there is one, whatever asks for it."""
        if self.in_use is None:
            if self.moved_on:
                raise RuntimeError("the teacher must be asked for in before_training_exp: the model has moved on")
            self.in_use = frozen_copy(self._model)
        return self.in_use

    def expert(self, task: str) -> UnifiedModel | None:
        """Return the baseline of `task`; None where no term of the stage follows it."""
        if task not in self._experts and task in self._weights:
            self._experts[task] = frozen_copy(self._model)
            self._experts[task].load_state_dict(self._weights[task]())
        return self._experts.get(task)

    def same_layers(self, other: UnifiedModel) -> frozenset[str]:
        """Return the names of the backbone's layers that are frozen in the stage and that `other` has, too."""
        if id(other) not in self._same:
            self._same[id(other)] = shared_layers(self._model.backbone, other.backbone)
        return self._same[id(other)]

    def stored(self, other: UnifiedModel, most: int) -> FeatureCache | None:
        """Return the features kept of the parent or of an expert, of at most so many images.

        None for any other model, which may still change.
        """
        if other is not self.in_use and other not in self._experts.values():
            return None
        return self._stored.setdefault(id(other), FeatureCache(other, most))


class FeatureCache:
    """A model's features of single images, each computed when it is first seen and found again by its pixels.

    Images run through the model alone, so that what is kept does not depend on which others were beside them, and a
    stage that is resumed has the bits of one that was not. Once `most` are kept, further ones are computed each time.
    """

    def __init__(self, model: UnifiedModel, most: int) -> None:
        self._model = model
        self._most = most
        self._levels: dict[bytes, dict[int, Tensor]] = {}

    def __call__(self, images: Tensor) -> Features:
        """Return the features of `images` (B, 3, H, W)."""
        pixels = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        # All are squares of bytes, so that equal pixels are equal sizes, too.
        keys = [hashlib.blake2b(one.data, digest_size=16).digest() for one in pixels]
        each = [self._of(key, image) for key, image in zip(keys, images, strict=True)]
        return Features(lambda level: torch.cat([found[level] for found in each]), {})

    def _of(self, key: bytes, image: Tensor) -> dict[int, Tensor]:
        if key in self._levels:
            return self._levels[key]
        features = self._model.features(image[None])
        levels = {level: features[level] for level in LEVELS}
        if len(self._levels) < self._most:
            self._levels[key] = levels
        return levels


@dataclass(frozen=True, eq=False)
class Ancestor:
    """An earlier stage of the run; weights: returns what it ended with, parameters and buffers, read when called."""

    datasets: tuple[TaskDataset, ...]
    weights: Callable[[], dict[str, Tensor]]

    def model(self, like: UnifiedModel) -> UnifiedModel:
        """Return a model of the form of `like` as this stage left it, in eval mode."""
        found = copy.deepcopy(like).eval()
        found.load_state_dict(self.weights())
        return found
