"""Mean intersection over union of a segmentation, from one confusion matrix pooled over all images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cl_bench.errors import UserError

_BYTES = 256
"""How many values a mask's pixel may have."""


class MeanIoU:
    """Mean IoU over the classes that occur in a target or a prediction, outside the void.

    classes: their number C, background included; images: how many are to be scored; void: the target value whose pixels
    count for nothing, whatever is predicted there; among: the classes that the mean is over, all where None (pixels of
    the others still count, where one of these is predicted). Raises UserError where the void value is also a class.
    """

    def __init__(self, classes: int, images: int, void: int = 255, among: Sequence[int] | None = None) -> None:
        if 0 <= void < classes:
            raise UserError(f"the void value {void} is also one of the {classes} classes")
        self._void = void
        self._others = np.setdiff1d(np.arange(classes), np.arange(classes) if among is None else among)
        self._confusion = np.zeros((images, classes, classes), np.int64)
        self._seen = np.zeros(images, np.bool_)

    def update(self, index: int, prediction: npt.NDArray[np.integer[Any]], target: npt.NDArray[np.uint8]) -> None:
        """Take the prediction for image `index`.

        prediction: (H, W) integers in 0..C-1; target: (H, W) uint8 in 0..C-1 or void; both in the mask file's frame.
        Raises UserError, naming the image, for other shapes or values and for an image that is scored twice.
        """
        images, classes, _ = self._confusion.shape
        if not 0 <= index < images:
            raise UserError(f"image {index} is not one of the {images} images to score")
        if self._seen[index]:
            raise UserError(f"image {index} is scored twice")
        if target.ndim != 2 or prediction.shape != target.shape:
            raise UserError(f"image {index}: the prediction is {prediction.shape}, the mask is {target.shape}")
        _check(prediction, classes, f"image {index}: the prediction")
        if target.dtype != np.uint8:
            raise UserError(f"image {index}: the mask holds {target.dtype} values instead of bytes")
        # Void pixels are counted with the others and left out after: to pick them out takes three times as long.
        pairs = target.astype(np.int64) * classes + prediction
        found = np.bincount(pairs.ravel(), minlength=max(_BYTES, classes) * classes).reshape(-1, classes)
        occurring = np.flatnonzero(found.any(axis=1))
        _check(occurring[occurring != self._void], classes, f"image {index}: the mask")
        self._confusion[index] = found[:classes]
        self._seen[index] = True

    def compute(self) -> dict[str, float]:
        """Return `mIoU` in 0..1; raise UserError where images are missing or no pixel belongs to a class."""
        return {"mIoU": float(self.resampled(np.ones((1, len(self._seen))))[0])}

    def per_class(self) -> npt.NDArray[np.float64]:
        """Return the IoU (C,) of each class; raises as `compute`.

        It is nan of the classes that the mean leaves out, and where neither target nor prediction has the class.
        """
        ious: npt.NDArray[np.float64] = self._ious(np.ones((1, len(self._seen))))[0]
        return ious

    def resampled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the mIoU (R,) where the images count as in `weights` (R, images), all > 0; raises as `compute`."""
        ious = self._ious(weights)
        # A class in neither target nor prediction is no success: counted as 1 it would lift all-background to 0.9.
        return ious[:, ~np.isnan(ious[0])].mean(axis=1)

    def _ious(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        self._require_all()
        images, classes, _ = self._confusion.shape
        pooled = (weights @ self._confusion.reshape(images, -1)).reshape(-1, classes, classes)
        hits = np.diagonal(pooled, axis1=1, axis2=2)
        union = pooled.sum(axis=1) + pooled.sum(axis=2) - hits
        if not union[0].any():
            raise UserError("mIoU needs a pixel that is not void, and no mask has one")
        ious = np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)
        ious[:, self._others] = np.nan
        return ious

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return `confusion`: (images, C, C) int32 numbers of pixels by [target, prediction], void left out."""
        self._require_all()
        return {"confusion": self._confusion.astype(np.int32)}

    def _require_all(self) -> None:
        if not self._seen.all():
            missing = np.flatnonzero(~self._seen)
            raise UserError(f"mIoU lacks {len(missing)} of {len(self._seen)} images; the first is image {missing[0]}")


def _check(values: npt.NDArray[np.integer[Any]], classes: int, where: str) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{where} holds {values.dtype} values instead of class indices")
    if values.size and (values.min() < 0 or values.max() >= classes):
        wrong = values[(values < 0) | (values >= classes)][0]
        raise UserError(f"{where} holds the value {wrong}, which is none of the {classes} classes")
