"""Handwritten digits and photographs that come with installed packages: what embedded data is made of.

Scikit-learn's digits and its two photographs serve all parts of a data set but one: the photographs of `test` are none
that train or val show, but matplotlib's (a portrait of Grace Hopper by the US Navy, in the public domain).
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cl_bench.errors import UserError

# What is needed is imported late: it takes a second, and every command loads the modules that use this one.


@functools.cache
def digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return scikit-learn's 1,797 digits, (n, 8, 8) in 0 (paper) to 16 (ink), and which digit each is, (n,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target


def photographs(split: str) -> dict[str, Image.Image]:
    """Return the photographs that `split` is made from, by file name; raise UserError where one is not installed."""
    return _matplotlib() if split == "test" else _scikit_learn()


@functools.cache
def _scikit_learn() -> dict[str, Image.Image]:
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    return {Path(name).name: Image.fromarray(image) for name, image in zip(bunch.filenames, bunch.images, strict=True)}


@functools.cache
def _matplotlib() -> dict[str, Image.Image]:
    from matplotlib.cbook import get_sample_data

    name = "grace_hopper.jpg"
    try:
        with Image.open(get_sample_data(name, asfileobj=False)) as image:
            return {name: image.convert("RGB")}
    except OSError as error:
        raise UserError(f"embedded test data needs {name}, which comes with matplotlib: {error}") from error
