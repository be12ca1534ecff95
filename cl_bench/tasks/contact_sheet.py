"""A contact sheet: a few examples of a split in one picture, with their targets and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from cl_bench.data.base import Split
from cl_bench.data.images import open_image
from cl_bench.errors import UserError

if TYPE_CHECKING:  # it imports torch
    from cl_bench.kinds.base import Task

CELL, CAPTION = 256, 16
"""Pixels: the side of a picture in a contact sheet, the height of its caption."""


def contact_sheet(task: Task, split: Split, count: int, columns: int = 6) -> Image.Image:
    """Return one picture of `count` examples, evenly spread over `split`, `columns` a row, with targets and names."""
    if count < 1 or columns < 1:
        raise UserError(f"a contact sheet needs at least one picture and one column, not {count} and {columns}")
    places = np.linspace(0, len(split.examples) - 1, min(count, len(split.examples))).round().astype(int)
    columns = min(columns, len(places))
    sheet = Image.new("RGB", (columns * CELL, -(-len(places) // columns) * (CELL + CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for cell, place in enumerate(places):
        example = split.examples[place]
        picture = task.kind.draw(open_image(example.image), example.target, split.classes)
        picture.thumbnail((CELL, CELL))
        left, top = cell % columns * CELL, cell // columns * (CELL + CAPTION)
        sheet.paste(picture, (left, top))
        pen.text((left + 2, top + CELL + 2), example.name, fill="black")
    return sheet
