"""COCO average precision of a detection, by pycocotools."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cl_bench.data.base import Boxes
from cl_bench.errors import UserError
from cl_bench.metrics.small_sample import expected_excess
from cl_bench.metrics.weighted_precision import Matches, of_class, weighted_ap

Detections = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]
"""Of one image: boxes (n, 4) as xyxy, scores (n,), labels (n,)."""

_DETECTIONS = 100
"""Detections that count, by image and class: COCO's own limit."""


class AveragePrecision:
    """COCO AP at all object sizes, averaged over the classes that have a true box that is no crowd.

    classes: names in label order; truth: the true boxes, one `Boxes` an image; sizes: (width, height) of each image
    file. Raises UserError, naming the image, for a true box that is upside down or outside its image, and where no box
    is true at all.
    """

    def __init__(self, classes: tuple[str, ...], truth: Sequence[Boxes], sizes: Sequence[tuple[int, int]]) -> None:
        if len(truth) != len(sizes):
            raise UserError(f"the true boxes are of {len(truth)} images, the sizes of {len(sizes)}")
        for index, (boxes, size) in enumerate(zip(truth, sizes, strict=True)):
            _check(boxes.xyxy, boxes.labels, len(classes), f"image {index}: a true box")
            if (boxes.xyxy[:, :2] > size).any() or (boxes.xyxy[:, 2:] < 0).any():
                raise UserError(f"image {index}: a true box lies outside the image of {size[0]} x {size[1]} pixels")
        if all(boxes.crowd.all() for boxes in truth):
            raise UserError("AP needs a true box that is no crowd, and no image has one")
        self._classes = len(classes)
        self._found: list[Detections | None] = [None] * len(truth)
        self._images = [{"id": i, "width": width, "height": height} for i, (width, height) in enumerate(sizes)]
        # COCOeval reads id 0 as "unmatched", so annotations start at 1; categories follow suit.
        self._categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
        self._truth = self._coco(
            _annotation(index, box, label, iscrowd=int(crowd))
            for index, boxes in enumerate(truth)
            for box, label, crowd in zip(boxes.xyxy, boxes.labels, boxes.crowd, strict=True)
        )

    def update(
        self,
        index: int,
        xyxy: npt.NDArray[np.floating[Any]],
        scores: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[np.integer[Any]],
    ) -> None:
        """Take the detections in image `index`; an image without any has arrays of length 0.

        xyxy: (n, 4) left, top, right, bottom in pixels of the image file; scores: (n,) finite, higher is surer;
        labels: (n,) in 0..classes-1. Raises UserError, naming the image, for other shapes or values and for an image
        that is scored twice.
        """
        if not 0 <= index < len(self._found):
            raise UserError(f"image {index} is not one of the {len(self._found)} images to score")
        if self._found[index] is not None:
            raise UserError(f"image {index} is scored twice")
        _check(xyxy, labels, self._classes, f"image {index}: a detection")
        if scores.shape != labels.shape or not np.isfinite(scores).all():
            raise UserError(f"image {index}: the detections need one finite score each")
        self._found[index] = (xyxy.astype(np.float32), scores.astype(np.float32), labels.astype(np.int32))

    def compute(self) -> dict[str, float]:
        """Return `AP50` and `AP` (mean over IoU 0.50:0.05:0.95), each in 0..1.

        Without any detection both are 0. Raises UserError where images are missing.
        """
        precision, _ = self._evaluated
        with_truth = (precision >= 0).all(axis=(0, 1))
        by_threshold = precision[:, :, with_truth].mean(axis=(1, 2))
        return {"AP50": float(by_threshold[0]), "AP": float(by_threshold.mean())}

    def per_class(self) -> npt.NDArray[np.float64]:
        """Return the AP50 (classes,) of each class, nan where it has no true box; raises as `compute`."""
        found = self._evaluated[0][0]
        scores: npt.NDArray[np.float64] = np.where((found >= 0).all(axis=0), found.mean(axis=0), np.nan)
        return scores

    def resampled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the AP50 (R,) where the images count as in `weights` (R, images), >= 0; raises as `compute`.

        Equal weights give what `compute` gives, to the last bit; see `weighted_ap`.

        The mean of the resamples lies above the score, because AP is higher of fewer images (see `expected_excess`) and
        weights from a flat Dirichlet distribution count like half the images: on simulated detections by .005 with 60
        images, .004 with 300 and .003 with 700, on real ones by .014 with 60. So an interval is to be centred on the
        score and to take from the resamples their variance alone, which leaves nothing to correct. With few images that
        variance is too small: in simulation its root was .5 to .95 of the true spread with 60, .7 to 1 with 300.
        """
        return weighted_ap(self._evaluated[1], weights)

    def expected_excess(self) -> float:
        """Return by how much the AP50 of so few images is expected to exceed that of many; raises as `compute`."""
        return expected_excess(self.resampled, len(self._found))

    @cached_property
    def _evaluated(self) -> tuple[npt.NDArray[np.float64], list[Matches]]:
        """What COCOeval finds, which never changes, as each image is scored once.

        The precision (IoU thresholds, recalls, classes), -1 of classes without a true box; and the matches at IoU 0.50
        of the classes that have one.
        """
        found = self._coco(
            _annotation(index, box, label, iscrowd=0, score=float(score))
            for index, detections in enumerate(self._all())
            for box, score, label in zip(*detections, strict=True)
        )
        evaluation = COCOeval(self._truth, found, "bbox")
        evaluation.params.maxDets = [_DETECTIONS]
        # COCO's "all" ends at 1e10 square pixels and would forgive every false positive beyond.
        evaluation.params.areaRng = [[0, np.inf]]
        with redirect_stdout(io.StringIO()):
            evaluation.evaluate()
            evaluation.accumulate()
        images = len(self._images)
        by_class = [evaluation.evalImgs[label * images : (label + 1) * images] for label in range(self._classes)]
        matches = [of_class(one, evaluation.params.recThrs) for one in by_class]
        return evaluation.eval["precision"][:, :, :, 0, 0], [one for one in matches if one.truths.any()]

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return all n detections, flat and ordered by image.

        `image` (n,) int32, `label` (n,) int32, `score` (n,) float32, `box` (n, 4) float32: left, top, right, bottom in
        pixels of the image file.
        """
        found = self._all()
        boxes, scores, labels = (np.concatenate(part) for part in zip(*found, strict=True))
        images = np.repeat(np.arange(len(found), dtype=np.int32), [len(detections[0]) for detections in found])
        return {"image": images, "label": labels, "score": scores, "box": boxes}

    def _all(self) -> list[Detections]:
        found = [detections for detections in self._found if detections is not None]
        if len(found) < len(self._found):
            missing = len(self._found) - len(found)
            first = next(index for index, detections in enumerate(self._found) if detections is None)
            raise UserError(f"AP lacks {missing} of {len(self._found)} images; the first is image {first}")
        return found

    def _coco(self, annotations: Iterable[dict[str, Any]]) -> Any:
        coco = COCO()
        numbered = [{**annotation, "id": number} for number, annotation in enumerate(annotations, 1)]
        coco.dataset = {"images": self._images, "categories": self._categories, "annotations": numbered}
        with redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco


def _annotation(image: int, xyxy: Any, label: Any, **more: float) -> dict[str, Any]:
    left, top, right, bottom = map(float, xyxy)
    width, height = right - left, bottom - top
    box = [left, top, width, height]
    return {"image_id": image, "category_id": int(label) + 1, "bbox": box, "area": width * height, **more}


def _check(xyxy: npt.NDArray[Any], labels: npt.NDArray[Any], classes: int, where: str) -> None:
    if labels.ndim != 1 or xyxy.shape != (len(labels), 4):
        raise UserError(f"{where} needs four numbers and a label, not arrays of {xyxy.shape} and {labels.shape}")
    if not np.isfinite(xyxy).all():
        raise UserError(f"{where} is not finite")
    # COCOeval would pass over a false positive of negative area.
    if (xyxy[:, 2:] < xyxy[:, :2]).any():
        raise UserError(f"{where} has its right or bottom edge before its left or top edge")
    if ((labels < 0) | (labels >= classes)).any():
        raise UserError(f"{where} has a label that is none of the {classes} classes")
