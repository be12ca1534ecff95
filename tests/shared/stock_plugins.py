"""What Avalanche's own plug-ins come to on the stream of `cl-bench check`: the table of docs/how-to/avalanche.md."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from avalanche.core import BasePlugin
from avalanche.training import plugins
from written import rewritten

from cl_bench.plugins.adapted import ADAPTED
from cl_bench.plugins.stock import REFUSED
from cl_bench.testing.bench import Bench
from cl_bench.testing.checks import Finding, check

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "avalanche.md"
BEGIN, END = "<!-- built from runs: make plugins -->\n", "<!-- end of what is built -->\n"
PACKAGE = "avalanche.training.plugins."
SUBJECTS = (
    *("AGEMPlugin[patterns_per_experience=8,sample_size=4]", "BiCPlugin", "CWRStarPlugin[model=1]", "CoPEPlugin"),
    *("CurrentDataFeCAMUpdate", "CurrentDataNCMUpdate", "EWCPlugin[ewc_lambda=1]"),
    *("EWCPlugin[ewc_lambda=1,mode=online,decay_factor=0.9]", "EarlyStoppingPlugin[patience=1,val_stream_name=test]"),
    *("FeCAMOracle", "FeatureDistillationPlugin", "FromScratchTrainingPlugin", "GDumbPlugin[mem_size=10]"),
    *("GEMPlugin[patterns_per_experience=8,memory_strength=0.5]", "GSS_greedyPlugin[mem_size=10,input_size=[3,64,64]]"),
    *("GenerativeReplayPlugin", "LFLPlugin[lambda_e=1]", "LRSchedulerPlugin[scheduler=1]", "LwFPlugin", "MASPlugin"),
    *("MIRPlugin[batch_size_mem=4]", "MemoryFeCAMUpdate", "MemoryNCMUpdate", "NCMOracle"),
    *("RARPlugin[batch_size_mem=4]", "RWalkPlugin", "ReplayPlugin[mem_size=12]", "SupervisedPlugin"),
    *("SynapticIntelligencePlugin[si_lambda=1]", "TrainGeneratorAfterExpPlugin"),
)
"""The plug-ins as they are tried, in the order of their names."""


def names() -> list[str]:
    """Return the names of all plug-ins that Avalanche has in the package of plug-ins."""
    found = vars(plugins).items()
    return sorted(name for name, thing in found if inspect.isclass(thing) and issubclass(thing, BasePlugin))


def row(subject: str, bench: Bench) -> str:
    """Return the table's row of one plug-in, as a line of Markdown; trains it as it is here, and unchanged."""
    name = subject.partition("[")[0]
    here, said = "works", _works(check(PACKAGE + subject, bench)) if name not in REFUSED else ""
    if name in REFUSED:
        here, said = "refused", REFUSED[name]
    elif name in ADAPTED:
        here, said = "works, adapted", f"{_adapted(name)}; {said}"
    unchanged = _unchanged(subject, bench) if name in {*REFUSED, *ADAPTED} else "the same"
    return f"| `{subject}` | {here} | {said} | {unchanged} |"


def _works(findings: Sequence[Finding]) -> str:
    said = {finding.check: finding.said.partition(":")[0].partition(";")[0] for finding in findings}
    failed = [finding.check for finding in findings if finding.state == "failed"]
    return "; ".join([said.get("effect", "does not get to its end"), *(f"{name}: {said[name]}" for name in failed)])


def _adapted(name: str) -> str:
    first = (ADAPTED[name].__doc__ or "").splitlines()[0]
    return first.removeprefix(f"{name}: ").rstrip(".")


def _unchanged(subject: str, bench: Bench) -> str:
    with patch.dict(REFUSED, clear=True), patch.dict(ADAPTED, clear=True):
        findings = {finding.check: finding for finding in check(PACKAGE + subject, bench)}
    for which in ("settings", "training"):
        if which in findings and findings[which].state == "failed":
            return _error(findings[which].said)
    return "changes nothing" if findings["effect"].state == "failed" else "runs"


def _error(said: str) -> str:
    """Return the kind of error and the file that raised it, which say the same whatever the versions of others."""
    if "the loss is not finite" in said:
        return "a loss that is not finite"
    found = re.search(r"(\w+Error)\b", said)
    assert found, said
    place = re.search(r"\((\w+\.py):\d+\)", said)
    return f"`{found[1]}`" + (f" in `{place[1]}`" if place else "")


def table(rows: Sequence[str]) -> str:
    """Return the whole table in Markdown."""
    head = ["| plug-in | here | in a few words | as it is in Avalanche |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def page(text: str, rows: Sequence[str]) -> str:
    """Return the page `text` with these rows in place of those that it has."""
    return rewritten(text, BEGIN, table(rows), END)
