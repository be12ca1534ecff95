"""A contact sheet: a few examples of a split as training sees them, with their targets and names."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from cl_bench.config.schema import Augment, Corruption
from cl_bench.data.base import Split
from cl_bench.data.images import decode_image, open_image
from cl_bench.errors import UserError
from cl_bench.tasks.corruptions import decoder

if TYPE_CHECKING:  # they import torch
    from torch import Tensor

    from cl_bench.kinds.base import Task
    from cl_bench.tasks.dataset import TaskDataset

CELL, CAPTION = 256, 16
"""Pixels: the side of a picture in a contact sheet, the height of its caption."""


def contact_sheet(
    task: Task,
    split: Split,
    count: int,
    columns: int = 6,
    augment: Augment | None = None,
    corruption: Corruption | None = None,
) -> Image.Image:
    """Return one picture of `count` examples, evenly spread over `split`, `columns` a row, with targets and names.

    Images are upright and squashed to squares, with the targets that the loss is given drawn on these pixels. Where
    `augment` changes anything, each has one augmentation beside it, if the kind can draw its target. Raises UserError
    for a file that cannot be decoded.
    """
    if count < 1 or columns < 1:
        raise UserError(f"a contact sheet needs at least one picture and one column, not {count} and {columns}")
    places = np.linspace(0, len(split.examples) - 1, min(count, len(split.examples))).round().astype(int)
    shown = replace(split, examples=tuple(split.examples[place] for place in places))
    views = [_dataset(task, shown, None, corruption)]
    if augment is not None and augment != Augment() and task.kind.as_drawn(views[0].read(0)[1]) is not None:
        views.append(_dataset(task, shown, augment, corruption))
    columns = min(columns, len(places))
    width = len(views) * CELL
    sheet = Image.new("RGB", (columns * width, -(-len(places) // columns) * (CELL + CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for cell, example in enumerate(shown.examples):
        left, top = cell % columns * width, cell // columns * (CELL + CAPTION)
        for number, view in enumerate(views):
            sheet.paste(_picture(view, cell), (left + number * CELL, top))
        pen.text((left + 2, top + CELL + 2), example.name, fill="black")
        if len(views) > 1:
            pen.text((left + CELL + 2, top + CELL + 2), "augmented", fill="black")
    return sheet


def _dataset(task: Task, split: Split, augment: Augment | None, corruption: Corruption | None) -> TaskDataset:
    """Return the examples as `Trainer` reads them: from larger images where augmentation cuts parts out of them."""
    from cl_bench.tasks.dataset import TaskDataset

    size = round(task.image_size * (augment.oversize if augment else 1))
    decode, masks = decoder(corruption) if corruption else decode_image, task.kind.decode_target
    images = [decode(example.image, size) for example in split.examples]
    targets = None if masks is None else [masks(example.target, size) for example in split.examples]
    return TaskDataset(task, split, images, targets, augment)


def _picture(view: TaskDataset, index: int) -> Image.Image:
    task, example = view.task, view.split.examples[index]
    image, target = view.read(index)
    pixels = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    found = task.kind.as_drawn(target, _left_out(view, index))
    if found is None:  # a kind that says nothing of it: its target lies on the file
        pixels, found = open_image(example.image), example.target
    drawn = task.kind.draw(pixels, found, view.split.classes)
    return drawn.resize((CELL, CELL), Image.Resampling.BILINEAR)


def _left_out(view: TaskDataset, index: int) -> dict[str, Tensor] | None:
    """Return what training leaves out of the target, where it lies in the same picture: a read draws by names alone."""
    rest = [view.task.kind.left_out(example) for example in view.split.examples]
    kept = tuple(example for example in rest if example is not None)
    if len(kept) < len(rest):
        return None
    other = copy(view)
    other.split = replace(view.split, examples=kept)
    return other.read(index)[1]
