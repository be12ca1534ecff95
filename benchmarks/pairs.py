"""What benchmarks have in common: interleaved rounds, ratios within a round, and the file that keeps all figures."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Measured = TypeVar("Measured")


def timed(work: Callable[[], Any]) -> float:
    """Return the wall time of `work`."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(ways: Mapping[str, Callable[[], Measured]], rounds: int) -> dict[str, list[Measured]]:
    """Return what each way measured in every round; who is first takes turns, and a round before them warms up."""
    found: dict[str, list[Measured]] = {way: [] for way in ways}
    for round_ in range(rounds + 1):
        for way in list(ways)[:: 1 if round_ % 2 else -1]:
            measured = ways[way]()
            if round_:
                found[way].append(measured)
    return found


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the rounds' ratios: what slows the machine for a while slows both alike."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def arguments(about: str | None, rounds: int, threads: int = 2) -> argparse.ArgumentParser:
    """Return a parser with what all benchmarks ask for."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--json", type=Path, help="keep every round's figure in this file")
    return parser


def keep(options: argparse.Namespace, found: Mapping[str, Any]) -> None:
    """Write all figures with the settings and the machine to the file that was asked for, if any."""
    if options.json is None:
        return
    import torch

    from cl_bench.utils.machine import environment
    from cl_bench.utils.provenance import commit

    settings = {name: value for name, value in vars(options).items() if name != "json"}
    machine = environment(settings.get("threads", torch.get_num_threads()), "cpu", "float32")
    about = {"settings": settings, "commit": commit(), "environment": machine}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({**about, **found}, indent=1) + "\n")
