"""LP-FT: the new predictor learns alone first, on features that stand still, then everything learns."""

from __future__ import annotations

from typing import Annotated

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.plugins.registry import strategy
from cl_bench.strategies.lwf import WarmUp


@strategy(
    "lp_ft",
    summary="train the new predictor alone first, then all (LP-FT; epochs of the stage's, not to convergence)",
    paper="arXiv:2202.10054",
    neutral={"epochs": 0},
)
def lp_ft(epochs: Annotated[int, Field(ge=0)] = 1) -> list[SupervisedPlugin]:
    """Return the linear probe; epochs: of the stage's, in which what no past task depends on learns alone."""
    return [WarmUp(epochs)]
