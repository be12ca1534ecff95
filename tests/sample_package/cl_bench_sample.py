"""A strategy and a data format of somebody else's, found by their entry points."""

from __future__ import annotations

from typing import Any

from avalanche.core import SupervisedPlugin

from cl_bench import strategy
from cl_bench.registry import formats
from cl_bench.training import Harness


class HalfRate(SupervisedPlugin):
    """Lets every later stage learn half as fast."""

    acts_from = 2

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Halve the rates."""
        if strategy.ancestors:
            strategy.scale_rate(strategy.model.parameters(), 0.5)


@strategy("half_rate", summary="learn half as fast after the first task")
def half_rate() -> list[SupervisedPlugin]:
    """Return the plug-in."""
    return [HalfRate()]


@formats.register
class Blank:
    """Reads nothing; it is here to be found."""

    name = "blank"
    kinds = ("classification",)

    def read(self, options: Any, kind: str, split: str, classes: Any) -> Any:
        """Never called."""
        raise NotImplementedError
