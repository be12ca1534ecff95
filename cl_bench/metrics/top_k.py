"""Top-1 and Top-5 accuracy of a classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cl_bench.errors import UserError


class TopK:
    """The share of images whose class is among the one (five) highest logits.

    images: how many are to be scored, at least one; classes: their number C. Of equal logits the lower class index
    ranks first, whichever is the truth. With five classes or fewer Top-5 is 1 by definition.
    """

    def __init__(self, images: int, classes: int) -> None:
        if images < 1:
            raise UserError("Top-1 needs at least one image")
        self._logits = np.zeros((images, classes), np.float32)
        self._labels = np.full(images, -1, np.int64)

    def update(
        self,
        indices: Sequence[int] | npt.NDArray[np.integer[Any]],
        logits: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[np.integer[Any]],
    ) -> None:
        """Take the logits (B, C), finite as float32, and the true classes (B,) in 0..C-1 of the images at `indices`.

        Raises UserError, naming the image, for other shapes or values and for an image that is scored twice.
        """
        images, classes = self._logits.shape
        if logits.shape != (len(indices), classes) or labels.shape != (len(indices),):
            raise UserError(
                f"{len(indices)} images of {classes} classes come with logits {logits.shape} and labels {labels.shape}"
            )
        values = logits.astype(np.float32)
        taken: set[int] = set()
        for index, row, label in zip(indices, values, labels, strict=True):
            if not 0 <= index < images:
                raise UserError(f"image {index} is not one of the {images} images to score")
            if self._labels[index] >= 0 or index in taken:
                raise UserError(f"image {index} is scored twice")
            if not 0 <= label < classes:
                raise UserError(f"image {index}: the label {label} is none of the {classes} classes")
            if not np.isfinite(row).all():
                raise UserError(f"image {index}: a logit is not finite")
            taken.add(index)
        where = np.asarray(indices, np.int64)
        self._logits[where] = values
        self._labels[where] = labels

    def compute(self) -> dict[str, float]:
        """Return `Top-1` and `Top-5`, each in 0..1; raise UserError where images are missing."""
        rank = self._ranks()
        return {f"Top-{k}": float((rank < k).mean()) for k in (1, 5)}

    def resampled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the Top-1 (R,) where the images count as in `weights` (R, images), all > 0; raises as `compute`."""
        return weights @ (self._ranks() < 1) / weights.sum(axis=1)

    def per_class(self) -> npt.NDArray[np.float64]:
        """Return the Top-1 (C,) of each class' images, nan where it has none; raises as `compute`."""
        hit, classes = self._ranks() < 1, self._logits.shape[1]
        images, hits = (np.bincount(self._labels, weights, minlength=classes) for weights in (None, hit))
        return np.divide(hits, images, out=np.full(classes, np.nan), where=images > 0)

    def _ranks(self) -> npt.NDArray[np.integer[Any]]:
        """Return how many classes come before the true one, by image."""
        self._require_all()
        truth = np.take_along_axis(self._logits, self._labels[:, None], axis=1)
        lower_index = np.arange(self._logits.shape[1]) < self._labels[:, None]
        return ((self._logits > truth) | ((self._logits == truth) & lower_index)).sum(axis=1)

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return `logits`: (images, C) float32."""
        self._require_all()
        return {"logits": self._logits.copy()}

    def _require_all(self) -> None:
        missing = np.flatnonzero(self._labels < 0)
        if missing.size:
            raise UserError(
                f"Top-1 lacks {missing.size} of {len(self._labels)} images; the first is image {missing[0]}"
            )
