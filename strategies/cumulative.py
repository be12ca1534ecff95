"""Cumulative: every training image of every past task is kept and rehearsed; what a memory could do at best."""

from __future__ import annotations

import sys

from avalanche.core import SupervisedPlugin

from cl_bench.plugins.registry import strategy
from cl_bench.strategies.replay import Replay


@strategy("cumulative", summary="rehearse all past images (what a memory could do at best)", paper="arXiv:1902.10486")
def cumulative() -> list[SupervisedPlugin]:
    """Return a replay whose memory holds everything."""
    return [Replay(sys.maxsize)]
