"""Where things lie: the cache, the user's data, the results and the store of stages."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cl_bench.errors import UserError


def cache_root() -> Path:
    """Return the folder of everything that can be made again (`CL_BENCH_CACHE`, else `~/.cache/cl_bench`)."""
    return Path(os.environ.get("CL_BENCH_CACHE") or Path.home() / ".cache" / "cl_bench")


def data_root() -> Path:
    """Return the folder of the real data sets (`CL_BENCH_DATA`, else `data` in the cache)."""
    return Path(os.environ.get("CL_BENCH_DATA") or cache_root() / "data")


def results_root() -> Path:
    """Return the folder of results (`CL_BENCH_RESULTS`, else `results` in the current folder)."""
    return Path(os.environ.get("CL_BENCH_RESULTS") or "results")


def names_of_results() -> list[str]:
    """Return the names of the experiments that have results; it looks into every folder, so ask only where need be."""
    return [plan.parent.name for plan in results_root().glob("*/plan.json")]


def store_root() -> Path:
    """Return the folder of trained stages, shared by experiments (`CL_BENCH_STORE`, else `stages` in the results)."""
    return Path(os.environ.get("CL_BENCH_STORE") or results_root() / "stages")


def expand(path: str) -> Path:
    """Return `path` with `~` and environment variables filled in; CL_BENCH_DATA has a default (`data_root`)."""
    known = {**os.environ, "CL_BENCH_DATA": str(data_root())}

    def fill(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise UserError(f"path {path!r} needs the environment variable {match[1]}, which is not set")
        return known[match[1]]

    try:
        return Path(re.sub(r"\$\{(\w+)\}", fill, path)).expanduser()
    except RuntimeError as error:
        raise UserError(f"path {path!r} names a user that is not there") from error
