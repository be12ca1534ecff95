"""Python's public names, and environment variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import cl_bench
from tools.reference.text import code, table
from tools.reference.text import page as whole_page

PACKAGE = Path(cl_bench.__file__).parent
VARIABLES = {
    "CL_BENCH_RESULTS": ("`results` in the current folder", "Where results lie."),
    "CL_BENCH_STORE": (
        "`stages` in the results",
        "Where trained stages lie; several experiments, and machines, may share it.",
    ),
    "CL_BENCH_CACHE": ("`~/.cache/cl_bench`", "What can be made again: decoded images, embedded data, downloads."),
    "CL_BENCH_DATA": ("`data` in the cache", "The real data sets; `${CL_BENCH_DATA}` in YAML is filled in."),
    "CL_BENCH_CACHE_LIMIT_MB": (
        "8192",
        "Images of one part of a task that need more than this, decoded, are decoded each time they are asked for.",
    ),
    "NO_COLOR": ("", "Set to anything: no colours in the terminal."),
    "MLFLOW_TRACKING_URI": ("a database in the results", "Where `track NAME mlflow` sends to."),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": ("0", "Ray's own: clusters of macOS."),
}
OTHERS = [
    ("CL_BENCH_FUZZ", "Cases of each fuzz test (tests only)."),
    (
        "ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA",
        "torch's own: `avx2` and `AVX2` give a newer processor the bits of an older one.",
    ),
]
BESIDE = (
    "cl_bench.training.context.StageContext",
    "cl_bench.results.summary.summary",
    "cl_bench.results.comparison.differences",
)
"""What is documented beside the names of `cl_bench`."""


def environment_page() -> str:
    """Return the page of environment variables; raise LookupError where the code reads one that has no words."""
    read = sorted(set(_read_variables()))
    if unknown := [name for name in read if name not in VARIABLES]:
        raise LookupError(f"tools/reference/interface.py does not say what {', '.join(unknown)} is for")
    rows = [(code(name), *VARIABLES[name]) for name in VARIABLES if name in read]
    rows += [(", ".join(map(code, names.split(", "))), "", meaning) for names, meaning in OTHERS]
    opening = "For whoever keeps data and results elsewhere than in the current folder."
    return whole_page(
        "Environment variables", opening, table(("variable", "where it is not set", "what it is for"), rows)
    )


def _read_variables() -> Iterator[str]:
    """Yield what is asked of `os.environ` anywhere in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Call, ast.Subscript, ast.Compare)) and "os.environ" in ast.unparse(node):
                texts = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
                yield from (text for text in texts if isinstance(text, str) and re.fullmatch("[A-Z][A-Z_]+", text))


def python_page() -> str:
    """Return the page of the Python interface, which mkdocstrings fills in."""
    named = [getattr(cl_bench, name) for name in cl_bench.__all__]
    places = [f"{one.__module__}.{one.__qualname__}" for one in named]
    opening = (
        "For whoever calls cl_bench from Python. First the names of `cl_bench` itself; then what strategies may use,"
        " and how the numbers of tables are read."
    )
    return whole_page("Python", opening, *(f"::: {place}" for place in [*places, *BESIDE]))
