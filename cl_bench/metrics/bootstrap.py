"""The Bayesian bootstrap over the images that a task is scored on (Rubin, Annals of Statistics 1981)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cl_bench.utils.randomness import derive

RESAMPLES = 1000

Weights = npt.NDArray[np.float64]
"""(resamples, images), all > 0: how often each image counts in each resample."""


def image_weights(task: str, images: int) -> Weights:
    """Return the weights of a task's images, which depend on its name and their number alone.

    So the same resample of two models is of the same images, and differences are paired. Drawn from a flat Dirichlet
    distribution, times the number of images; as no image ever weighs nothing, no class vanishes, however rare.
    """
    draws = np.random.default_rng(derive("bootstrap", task)).standard_exponential((RESAMPLES, images))
    return draws / draws.mean(axis=1, keepdims=True)
