"""Semantic segmentation: a class for every pixel; 255 is void and counts for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools.mask import encode
from pydantic import Field
from torch import Tensor, nn
from torchvision.tv_tensors import Mask
from torchvision.utils import draw_segmentation_masks

from cl_bench.data.base import VOID, Example, Split
from cl_bench.data.cache import Decoder
from cl_bench.data.images import decode_mask, image_size, reading
from cl_bench.errors import UserError
from cl_bench.kinds.base import Distill, Kind, Predictor, Settings, Target, Task, gallery_indices, select_classes
from cl_bench.kinds.divergence import kl
from cl_bench.kinds.drawing import write_label
from cl_bench.kinds.prediction import Mask as MaskPrediction
from cl_bench.metrics.mean_iou import MeanIoU
from cl_bench.plugins.registry import kinds

MUCH_VOID = 0.15
"""Share of void pixels from which it is told of; PASCAL VOC's rims take a twentieth."""


class PixelPredictor(Predictor):
    """A 1x1 convolution to class logits, the mean over the levels, upsampled bilinearly to the input size."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.logits = nn.Conv2d(channels, classes, 1)

    def forward(self, *levels: Tensor) -> Tensor:
        """Return logits (B, classes, h, w) at the finest level."""
        # Resizing and a 1x1 convolution commute, and there are fewer classes than channels to resize.
        total, *coarser = (self.logits(features) for features in levels)
        for logits in coarser:
            total = total + F.interpolate(logits, size=total.shape[-2:], mode="bilinear", align_corners=False)
        return total / len(levels)

    def finish(self, raw: Tensor, image_size: int) -> Tensor:
        """Return logits (B, classes, image_size, image_size)."""
        return resized(raw, (image_size, image_size))


def resized(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return logits (B, classes, *size) float32; of that size, they are as they were, as interpolation leaves them."""
    if logits.shape[-2:] == size:
        return logits.float()
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


class SegmentationMetric:
    """Mean IoU in the original frame: logits are resized to each mask's own size before the class is chosen."""

    def __init__(self, task: Task, split: Split) -> None:
        self._examples = split.examples
        self._miou = MeanIoU(len(task.classes), len(split.examples), VOID, task.labels)
        self._kept = gallery_indices(len(split.examples))
        self._masks = np.zeros((len(self._kept), task.image_size, task.image_size), np.uint8)

    def update(self, output: Tensor, indices: Sequence[int]) -> None:
        """Take logits (B, classes, S, S) of the examples at `indices`."""
        for logits, index in zip(output, indices, strict=True):
            truth = decode_mask(self._examples[index].target, None)
            original = resized(logits[None], truth.shape)
            # The same classes as argmax(0) gives, which takes a CPU twice to five times as long.
            self._miou.update(index, original[0].max(0).indices.cpu().numpy(), truth)
            if index in self._kept:
                self._masks[self._kept.index(index)] = logits.argmax(0).cpu().numpy()

    def compute(self) -> dict[str, float]:
        """Return {"mIoU": value in 0..1}."""
        return self._miou.compute()

    def per_class(self) -> npt.NDArray[np.float64]:
        """Return each class' IoU (classes,)."""
        return self._miou.per_class()

    def resampled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the mIoU of each resample."""
        return self._miou.resampled(weights)

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return confusion (images, C, C) [target, prediction] and masks (gallery, S, S) in the resized frame."""
        return {**self._miou.per_image(), "masks": self._masks}


class SegmentationSettings(Settings):
    """label_smoothing: as in classification; iou_weight: of the soft IoU loss beside the cross-entropy."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    iou_weight: float = Field(0.0, ge=0, allow_inf_nan=False)


@kinds.register
class Segmentation(Kind):
    """Cross-entropy over pixels, KL over classes on the logits before upsampling, mean IoU."""

    name = "segmentation"
    metrics = ("mIoU",)
    predictors = ("linear",)
    levels = (8,)
    learns_parts = True
    background = 0
    Settings = SegmentationSettings

    @property
    def decode_target(self) -> Decoder:
        """The reader of masks."""
        return decode_mask

    def predictor(self, task: Task, channels: int) -> Predictor:
        """Return the pixel predictor."""
        return PixelPredictor(channels, len(task.classes))

    def target(self, task: Task, example: Example, resized: npt.NDArray[np.uint8] | None) -> Target:
        """Return {"mask": (S, S) uint8}; what the task does not learn is background in it."""
        assert resized is not None
        mask = np.array(resized)
        if task.learns:
            mask[~np.isin(mask, (*task.learns, VOID))] = self.background
        return {"mask": Mask(torch.from_numpy(mask))}

    def loss(self, task: Task, output: Tensor, targets: Sequence[Target]) -> Tensor:
        """Return the cross-entropy, a mean over the pixels that are not void (0 where all are), and the IoU loss."""
        masks = torch.stack([target["mask"] for target in targets]).long()
        smoothing = task.settings.label_smoothing
        total = F.cross_entropy(output, masks, ignore_index=VOID, reduction="sum", label_smoothing=smoothing)
        entropy = total / (masks != VOID).sum().clamp(min=1)
        weight = task.settings.iou_weight
        return entropy + weight * soft_iou_loss(output, masks) if weight else entropy

    def distillation(self, task: Task, student: Tensor, teacher: Tensor, how: Distill) -> Tensor:
        """Return the KL over background and the classes that the task learns, a mean over the predictor's pixels."""
        shown = sorted({self.background, *task.labels})
        return kl(select_classes(student, shown), select_classes(teacher, shown), how)

    def metric(self, task: Task, val: Split) -> SegmentationMetric:
        """Return an empty mean IoU over `val`."""
        return SegmentationMetric(task, val)

    def trivial(self, task: Task, train: Split, val: Split) -> float:
        """Return the mean IoU of predicting everywhere the class that the task shows most pixels of in `train`."""
        pixels = self.count(train)
        shown = np.bincount(task.labels, minlength=len(pixels)).astype(bool)
        pixels[self.background] += pixels[~shown].sum()  # what the task does not learn is background
        shown[self.background] = True
        commonest = int(np.where(shown, pixels, -1).argmax())
        miou = MeanIoU(len(task.classes), len(val.examples), VOID, task.labels)
        for index, example in enumerate(val.examples):
            truth = decode_mask(example.target, None)
            miou.update(index, np.full(truth.shape, commonest, np.int64), truth)
        return miou.compute()["mIoU"]

    def predicted(self, arrays: Mapping[str, npt.NDArray[Any]], index: int) -> npt.NDArray[Any]:
        """Return the predicted mask."""
        return arrays["masks"][gallery_indices(len(arrays["confusion"])).index(index)]

    def answer(self, task: Task, output: Tensor, size: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], Any]:
        """Return the mask (H, W) and, by class in it, its share of the pixels and COCO's compressed RLE."""
        logits = resized(output, size[::-1])
        found = logits[0].argmax(0).numpy().astype(np.uint8)
        answer = {}
        for label in np.unique(found).tolist():
            run_lengths = encode(np.asfortranarray(found == label))
            counts = {"size": run_lengths["size"], "counts": run_lengths["counts"].decode("ascii")}
            answer[task.classes[label]] = {"share": float((found == label).mean()), "rle": counts}
        return found, answer

    def prediction(self, found: Any, plain: Any, classes: tuple[str, ...]) -> MaskPrediction:
        """Return the mask with its classes."""
        return MaskPrediction(found, classes)

    def check(self, example: Example, classes: tuple[str, ...]) -> None:
        """Raise UserError where the mask's size is not the image's or a value is neither a class nor void."""
        mask = decode_mask(example.target, None)
        size = image_size(example.image)
        if size != mask.shape[::-1]:
            turn = reading(example.image).orientation
            seen = f", upright by its EXIF orientation {turn}, which the mask must be too" if turn != 1 else ""
            raise UserError(f"mask {example.target} is {mask.shape[::-1]} pixels, its image {size}{seen}")
        wrong = sorted({int(value) for value in np.unique(mask)} - {*range(len(classes)), VOID})
        if wrong:
            raise UserError(
                f"mask {example.target} holds the value {wrong[0]}; allowed are 0..{len(classes) - 1} and {VOID} (void)"
            )

    def count(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the pixels of each class."""
        return _values(split)[: len(split.classes)]

    def remarks(self, split: Split) -> list[str]:
        """Return a sentence where so many pixels are void that it may be meant as a class."""
        total = _values(split)
        share = total[VOID] / max(total.sum(), 1)
        if share < MUCH_VOID:
            return []
        lacking = next((place for place, count in enumerate(total[: len(split.classes)]) if not count), None)
        values = [f"{name}: {VOID if place == lacking else place}" for place, name in enumerate(split.classes)]
        table = ", ".join(values if lacking is not None else [*values, f"NAME: {VOID}"])
        return [
            f"{share:.1%} of the pixels are {VOID}, which is void and counts for nothing; where {VOID} is meant as a "
            f"class, `colours: {{{table}}}` in the data (of format voc or mask_pairs) makes it one; a data set from "
            "Python has another number for it"
        ]

    def as_drawn(self, target: Target, left_out: Target | None = None) -> npt.NDArray[np.uint8]:
        """Return the mask (S, S)."""
        mask: npt.NDArray[np.uint8] = target["mask"].numpy()
        return mask

    def draw(self, image: Image.Image, target: Any, classes: tuple[str, ...]) -> Image.Image:
        """Draw a mask, a file or an (H, W) array of class indices, with its classes' names.

        Background and void stay clear.
        """
        mask = target if isinstance(target, np.ndarray) else decode_mask(target, None)
        resized = Image.fromarray(mask.astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)
        found = torch.from_numpy(np.array(resized))
        present = [c for c in torch.unique(found).tolist() if c not in (0, VOID)]
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        if present:
            layers = torch.stack([found == c for c in present])
            pixels = draw_segmentation_masks(pixels, layers, alpha=0.6, colors=[colour(c) for c in present])
        drawn = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        for label in present:
            place = torch.nonzero(found == label).double()
            # The pixel of the mask that is nearest to its centre, which may lie outside.
            y, x = place[(place - place.mean(0)).square().sum(1).argmin()].tolist()
            # A mask is looked at, too, to see what is wrong with it.
            write_label(drawn, (x, y), classes[label] if label < len(classes) else f"{label}?", "mm")
        return drawn


def _values(split: Split) -> npt.NDArray[np.int64]:
    """Return how often the masks of `split` hold each of 0..255."""
    total = np.zeros(256, np.int64)
    for example in split.examples:
        total += np.bincount(decode_mask(example.target, None).ravel(), minlength=256)
    return total


def soft_iou_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return 1 - the IoU of probabilities and truth, a mean over the classes in `masks` (B, H, W); 0 without any.

    Every class counts the same, however few its pixels (Rahman and Wang, ISVC 2016).
    """
    valid = masks != VOID
    truth, counted = torch.where(valid, masks, 0), valid.float()
    chance = logits.float().softmax(1) * counted[:, None]
    hit = chance.gather(1, truth[:, None]).flatten()
    none = chance.new_zeros(logits.shape[1])
    pixels = none.index_add(0, truth.flatten(), counted.flatten())
    common, both = none.index_add(0, truth.flatten(), hit), chance.sum((0, 2, 3)) + pixels
    loss, present = 1 - common / (both - common).clamp(min=1), pixels > 0
    return (loss * present).sum() / present.sum().clamp(min=1)


def colour(label: int) -> tuple[int, int, int]:
    """Return the colour of a class in PASCAL VOC's palette, which spreads the bits of its index."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]
