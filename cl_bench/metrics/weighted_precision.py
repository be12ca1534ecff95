"""COCO average precision of images that do not all count alike, from detections that are matched already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_CELLS = 200_000
"""Rows of weights times detections that are worked on at a time: they should fit a core's cache."""
_EXACT = 52
"""Sums of whole numbers up to two to this power are exact in float64, in whatever order they are taken."""


@dataclass(frozen=True)
class Matches:
    """What was found of one class at one IoU threshold, the surest detection first.

    images (D,): the image of each detection that counts (in a crowd none does); hit (D,) bool: whether it matches a
    true box; truths (images,): numbers of true boxes, crowds left out; recalls: where precision is read off, rising.
    """

    images: npt.NDArray[np.int64]
    hit: npt.NDArray[np.bool_]
    truths: npt.NDArray[np.int64]
    recalls: npt.NDArray[np.float64]


def of_class(evaluated: Sequence[Any], recalls: npt.NDArray[np.float64], threshold: int = 0) -> Matches:
    """Return one class' matches as COCOeval holds them.

    evaluated: its `evalImgs` of the class, one an image (None: neither truth nor detection); threshold: index of the
    IoU threshold.
    """
    some = [(index, one) for index, one in enumerate(evaluated) if one is not None]
    images = np.concatenate([np.full(len(one["dtScores"]), index) for index, one in some] or [np.zeros(0, np.int64)])
    scores = np.concatenate([one["dtScores"] for _, one in some] or [[]])
    hit, ignored = (
        np.concatenate([one[key][threshold].astype(bool) for _, one in some] or [np.zeros(0, bool)])
        for key in ("dtMatches", "dtIgnore")
    )
    truths = np.zeros(len(evaluated), np.int64)
    for index, one in some:
        truths[index] = np.count_nonzero(one["gtIgnore"] == 0)
    # COCOeval's own way to sort, which decides between equal scores.
    order = np.argsort(-scores, kind="mergesort")
    order = order[~ignored[order]]
    return Matches(images[order], hit[order], truths, recalls)


def weighted_ap(classes: Sequence[Matches], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean AP (R,) over the classes, of images that count as in `weights` (R, images), >= 0.

    Equal weights give what COCOeval does, to the last bit, and whole ones what it gives where images are repeated so
    often. A class without a true box in the images that count is left out, as COCO does; nan where that is every class.
    So that no rounding of a sum can miss a recall that is reached, weights are rounded first, to multiples of a number
    so small that all sums are exact: 2^-37 for weights around 1 and 20,000 detections of a class.
    """
    counts = [np.bincount(one.images, minlength=weights.shape[1]) + one.truths for one in classes]
    _, exponents = np.frexp((weights @ np.stack(counts, axis=1)).max(axis=1, keepdims=True))
    whole = np.maximum(np.rint(np.ldexp(weights, _EXACT - exponents)), weights > 0)
    total, present = np.zeros(len(weights)), np.zeros(len(weights), np.int64)
    for one in classes:
        parts = np.array_split(whole, min(len(whole), 1 + len(whole) * len(one.images) // _CELLS))
        # One class after the other, and not pairwise, as `mean` does it along the strides of COCOeval's precision.
        total += np.concatenate([_precision_sum(one, part) for part in parts])
        present += whole @ one.truths > 0
    return np.divide(total, present * len(classes[0].recalls), out=np.full(len(whole), np.nan), where=present > 0)


def _precision_sum(found: Matches, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sum (R,) of the precision at all recalls, of images that count as in whole `weights` (R, images)."""
    hits, rows = np.flatnonzero(found.hit), len(weights)
    if not len(hits):
        return np.zeros(rows)
    # Precision is best at hits, so what lies between two of them is summed and forgotten.
    counted = weights[:, found.images[: hits[-1] + 1]]
    true = np.cumsum(counted[:, hits], axis=1)
    seen = np.cumsum(np.add.reduceat(counted, np.append(0, hits[:-1] + 1), axis=1), axis=1)
    precision = np.divide(true, seen, out=np.zeros_like(true), where=true > 0)
    if not hits[0]:
        # COCOeval adds as much to the number of detections, which is lost in any beyond the first.
        precision[:, 0] /= 1 + np.spacing(1)
    # From the right, so that precision never rises with recall; 0 beyond the recall that is reached.
    envelope = np.zeros((rows, len(hits) + 1))
    np.maximum.accumulate(precision[:, ::-1], axis=1, out=envelope[:, -2::-1])
    truths = (weights @ found.truths)[:, None]
    recall = np.divide(true, truths, out=np.zeros_like(true), where=truths > 0)
    # How many recalls each hit reaches, and so, of each recall, how many hits do not reach it.
    reached = np.searchsorted(found.recalls, recall.ravel(), side="right").reshape(recall.shape)
    bins = len(found.recalls) + 1
    reached += bins * np.arange(rows)[:, None]
    at = np.bincount(reached.ravel(), minlength=rows * bins).reshape(rows, bins)[:, :-1].cumsum(axis=1)
    summed: npt.NDArray[np.float64] = np.take_along_axis(envelope, at, axis=1).sum(axis=1)
    return summed
