"""What the store holds that no plan refers to any more."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cl_bench.results.plan_file import read_plan
from cl_bench.results.store.failures import Failures
from cl_bench.results.store.scores import FOLDER
from cl_bench.results.store.store import Store

SETTLED = 3600.0
"""Seconds after which a folder that is being written is one that was given up."""


@dataclass(frozen=True)
class Garbage:
    """A file or folder that can go; what: in words; size: in bytes."""

    path: Path
    what: str
    size: int


def garbage(store: Store, plans: Iterable[Path]) -> list[Garbage]:
    """Return what the store holds that none of the `plans` (plan.json files) refers to, and what is left of crashes."""
    plans = list(plans)
    used = {key for plan in plans for key in read_plan(plan.parent).stages}
    records = [path for root in sorted({plan.parent.parent for plan in plans}) for path in Failures(root).paths()]
    found = [(path, "a failure of a stage of no plan") for path in records if path.stem not in used]
    for path in sorted(store.root.glob("*")):
        if match := re.fullmatch(r"\.draft-([0-9a-f]{64}|import)-[0-9a-f]+", path.name):
            if not store.is_claimed(match[1]) and _settled(path):
                found.append((path, f"{'an import' if match[1] == 'import' else 'a stage'} that was cut off"))
        elif re.fullmatch(r"[0-9a-f]{64}", path.name) and path.name not in used and not store.is_claimed(path.name):
            found.append((path, "a stage of no plan"))
    wanted = {identity for plan in plans for identity in read_plan(plan.parent).tests.values()}
    for path in sorted((store.root / FOLDER).glob("*")):
        if path.name not in used and not store.is_claimed(path.name):
            found.append((path, "scores of a stage of no plan"))
        elif path.name in used:
            # Another run may be at it, and its plan be written later.
            old = [one for one in sorted(path.iterdir()) if _settled(one)]
            found += [(one, "scores that were cut off") for one in old if one.name.startswith(".")]
            others = (one for one in old if not one.name.startswith(".") and one.name[:16] not in wanted)
            found += [(one, "a score on images of no plan") for one in others]
    for folder, suffix, what in ((".checkpoints", ".safetensors", "a checkpoint"), (".logs", ".log", "a log")):
        for path in sorted((store.root / folder).glob(f"*{suffix}")):
            key = path.name.removesuffix(suffix)
            if (key not in used or key in store) and not store.is_claimed(key):
                found.append((path, f"{what} of a stage that is done or of no plan"))
    drafts = sorted((store.root / ".checkpoints").glob(".*"))
    found += [(path, "a checkpoint that was cut off") for path in drafts if _settled(path)]
    found += [(path, "a damaged stage") for path in sorted((store.root / ".damaged").glob("*"))]
    return [Garbage(path, what, _size(path)) for path, what in found]


def remove(found: Iterable[Garbage]) -> None:
    """Remove it, folders with all that is in them."""
    for one in found:
        if one.path.is_dir():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)


def _settled(path: Path) -> bool:
    """Return whether nobody has written to it for long; False where it is gone by now."""
    try:
        return time.time() - path.stat().st_mtime > SETTLED
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(Path(folder) / name) for folder, _, names in os.walk(path) for name in names)
