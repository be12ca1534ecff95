"""Labels of images that their EXIF orientation turns: nothing says whether they were made on the upright picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_bench.data.base import Boxes, Example
from cl_bench.data.cache import file_hashes
from cl_bench.data.readings import TURNED, readings


def unturned(examples: Sequence[Example]) -> list[str]:
    """Return a sentence where images are turned upright and their labels are not."""
    images = [one.image for one in examples]
    found = zip(examples, readings(images, file_hashes(images)), strict=True)
    turned = [one for one, how in found if how.orientation != 1]
    masked = [one for one in turned if isinstance(one.target, Path) and TURNED not in one.target.suffixes]
    masks = [one.target for one in masked]
    plain = [
        one.name for one, how in zip(masked, readings(masks, file_hashes(masks)), strict=True) if how.orientation == 1
    ]
    boxed = [one.name for one in turned if isinstance(one.target, Boxes) and len(one.target.labels)]
    return [
        f"{what} of {len(names)} images that are turned upright are left as they are, taken to be of the upright one, "
        f"such as those of {names[0]}: look whether they fit"
        for what, names in (("masks", plain), ("boxes", boxed))
        if names
    ]
