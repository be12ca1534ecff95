"""The store over time: what no plan refers to any more, and results that move between machines. No torch."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cl_bench.config import DEV, NAME, RESERVED
from cl_bench.data.download import Limits, read_members
from cl_bench.errors import NewerVersionError, UserError
from cl_bench.failures import Failures
from cl_bench.files import replacing, sha256, write_whole
from cl_bench.paths import find_stage
from cl_bench.plan_file import read_plan, tests
from cl_bench.stages.key import stage_key
from cl_bench.stages.scores import FOLDER
from cl_bench.stages.store import Store, intact, read_json, set_damaged_aside

MANIFEST = "SHA256SUMS.json"
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
    used = {key for plan in plans for key in read_plan(plan.parent)["stages"]}
    records = [path for root in sorted({plan.parent.parent for plan in plans}) for path in Failures(root).paths()]
    found = [(path, "a failure of a stage of no plan") for path in records if path.stem not in used]
    for path in sorted(store.root.glob("*")):
        if match := re.fullmatch(r"\.draft-([0-9a-f]{64}|import)-[0-9a-f]+", path.name):
            if not store.is_claimed(match[1]) and _settled(path):
                found.append((path, f"{'an import' if match[1] == 'import' else 'a stage'} that was cut off"))
        elif re.fullmatch(r"[0-9a-f]{64}", path.name) and path.name not in used and not store.is_claimed(path.name):
            found.append((path, "a stage of no plan"))
    wanted = {identity for plan in plans for identity in tests(read_plan(plan.parent)).values()}
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


def export_results(folder: Path, store: Store, target: Path) -> int:
    """Write an experiment's results and its stages, weights and scores included, with their hashes into a tar file.

    Returns how many stages are in it: those that are not trained yet are left out, but for why, where that is known.
    Raises UserError where stages are damaged, which are set aside.
    """
    plan, failures = read_plan(folder), Failures(folder.parent)
    files = {f"results/{path.name}": path for path in sorted(folder.glob("[!.]*")) if path.is_file()}
    stages = {}
    for key in plan["stages"]:
        stage = store.folder(key) if store.folder(key).is_dir() else find_stage(folder, key)
        if stage is not None:
            stages[key] = stage
    set_damaged_aside(stages.values())
    for key in plan["stages"]:
        if failures.path(key).is_file():
            files[f"failed/{key}.json"] = failures.path(key)
        if key in stages:
            files |= {f"stages/{key}/{path.name}": path for path in sorted(stages[key].iterdir())}
            found = sorted((stages[key].parent / FOLDER / key).glob("[!.]*"))
            files |= {f"scores/{key}/{path.name}": path for path in found}
    with replacing(target) as out, tarfile.open(fileobj=out, mode="w") as tar:
        sums = {}
        for name, path in files.items():
            content = path.read_bytes()
            sums[name] = hashlib.sha256(content).hexdigest()
            _add(tar, name, content)
        _add(tar, MANIFEST, json.dumps({"experiment": plan["experiment"], "files": sums}).encode())
    return len(stages)


def import_results(archive: Path, results: Path, store: Store) -> Path:
    """Take an experiment that `export_results` wrote into `results` and its stages into `store`; return its folder.

    Raises UserError, and takes nothing, for an archive that is damaged or no such archive, for stages that are not what
    their keys say, and where the experiment is there already.
    """
    if not os.path.isfile(archive):  # which is False for a name that no file system takes
        raise UserError(f"{archive} is no file")
    draft = store.root / f".draft-import-{uuid.uuid4().hex}"
    try:
        sums: dict[str, str] = {}
        # What is exported is not compressed: no archive of ours holds more than its own size.
        for name, content in read_members(archive, lambda _: True, Limits(size=archive.stat().st_size)):
            write_whole(draft / name, content)
            sums[name] = sha256(draft / name)
        experiment = _check(archive, draft, sums)
        target = results / experiment
        if (target / "plan.json").exists():
            raise UserError(f"{target} exists already; move it away to import {archive}")
        for stage in sorted((draft / "stages").glob("*")):
            known = stage.name in store
            store.place(stage.name, stage)
            # Where the stage was here already, its weights may be others, as of another processor.
            for path in () if known else sorted((draft / "scores" / stage.name).glob("*")):
                write_whole(store.root / FOLDER / stage.name / path.name, path.read_bytes())
        failures = Failures(results)
        for path in sorted((draft / "failed").glob("*")):
            if not failures.path(path.stem).exists():  # one of this machine's own is nearer the truth
                write_whole(failures.path(path.stem), path.read_bytes())
        files = sorted(filter(Path.is_file, (draft / "results").iterdir()), key=lambda path: path.name == "plan.json")
        for path in files:  # the plan last: with it the experiment is there
            write_whole(target / path.name, path.read_bytes())
        return target
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check(archive: Path, draft: Path, sums: dict[str, str]) -> str:
    """Return the experiment's name; raise UserError where what was unpacked is not what was exported."""
    try:
        manifest = json.loads((draft / MANIFEST).read_bytes())
        name, expected = str(manifest["experiment"]), {**manifest["files"], MANIFEST: sums[MANIFEST]}
        plan = read_plan(draft / "results")
        planned = set(plan["stages"])
        strays = [
            stage.name
            for stage in sorted((draft / "stages").glob("*"))
            if stage.name not in planned or stage_key(read_json(stage / "stage.json")["settings"]) != stage.name
        ]
        strays += [path.parent.name for path in (draft / "scores").glob("*/*") if path.parent.name not in planned]
        strays += [
            path.name for path in (draft / "failed").rglob("*") if path.name.removesuffix(".json") not in planned
        ]
    except NewerVersionError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RecursionError, UserError) as error:
        raise UserError(f"{archive} is not an archive of results, or a damaged one") from error
    if changed := {member for member in expected.keys() | sums.keys() if expected.get(member) != sums.get(member)}:
        raise UserError(f"archive {archive} is damaged: {min(changed)} is not what was exported")
    if not re.fullmatch(NAME, re.sub(f"-({'|'.join(DEV)})$", "", name)) or name in RESERVED:
        raise UserError(f"archive {archive} names its experiment {name!r}, which is no experiment's name")
    if name != plan["experiment"]:
        raise UserError(f"archive {archive} names its experiment {name!r}, and its plan {plan['experiment']!r}")
    if strays:
        raise UserError(f"archive {archive} holds stage {strays[0][:12]}, which is not what its key says")
    for stage in sorted((draft / "stages").glob("*")):
        if not intact(stage, tensors=True):
            raise UserError(f"archive {archive} holds stage {stage.name[:12]}, which is not what was trained")
    return name


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


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
