"""Results that move between machines, with their stages. No torch."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import uuid
from pathlib import Path

from cl_bench.config.values import DEV, NAME, RESERVED
from cl_bench.errors import NewerVersionError, UserError
from cl_bench.results.plan_file import read_plan
from cl_bench.results.store.failures import Failures
from cl_bench.results.store.json_files import read_json
from cl_bench.results.store.key import stage_key
from cl_bench.results.store.scores import FOLDER
from cl_bench.results.store.store import Store, find_stage, intact, set_damaged_aside
from cl_bench.utils.archives import Limits, read_members
from cl_bench.utils.files import replacing, write_whole
from cl_bench.utils.hashing import file_hash

MANIFEST = "SHA256SUMS.json"


def export_results(folder: Path, store: Store, target: Path) -> int:
    """Write an experiment's results and its stages, weights and scores included, with their hashes into a tar file.

    Returns how many stages are in it: those that are not trained yet are left out, but for why, where that is known.
    Raises UserError where stages are damaged, which are set aside.
    """
    plan, failures = read_plan(folder), Failures(folder.parent)
    files = {f"results/{path.name}": path for path in sorted(folder.glob("[!.]*")) if path.is_file()}
    stages = {}
    for key in plan.stages:
        stage = store.folder(key) if store.folder(key).is_dir() else find_stage(folder, key)
        if stage is not None:
            stages[key] = stage
    set_damaged_aside(stages.values())
    for key in plan.stages:
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
        _add(tar, MANIFEST, json.dumps({"experiment": plan.experiment, "files": sums}).encode())
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
            sums[name] = file_hash(draft / name)
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
        planned = set(plan.stages)
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
    if name != plan.experiment:
        raise UserError(f"archive {archive} names its experiment {name!r}, and its plan {plan.experiment!r}")
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
