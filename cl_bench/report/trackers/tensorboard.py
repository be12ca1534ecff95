"""TensorBoard: event files, a folder a run, below the experiment's results (`tensorboard --logdir`)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from cl_bench.report.trackers.base import Tracked, TrackedRun


def send(tracked: Tracked, folder: Path) -> str:
    """Write the event files of runs that have none yet, and drop those of runs that the experiment has no more."""
    root = folder / "tensorboard"
    wanted = {f"{re.sub(r'[^A-Za-z0-9._+=,>-]+', '_', run.name)[:80]}-{run.run_id[:8]}": run for run in tracked.runs}
    for old in root.glob("*"):
        if old.name not in wanted:
            shutil.rmtree(old)
    for name, run in wanted.items():
        if not (root / name).exists():
            _write(root / name, run)
    _overview(root / "overview", tracked)
    return str(root)


def _write(folder: Path, run: TrackedRun) -> None:
    from torch.utils.tensorboard import SummaryWriter

    draft = folder.with_name(f".draft-{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    with SummaryWriter(str(draft)) as writer:
        for step, values in run.history.items():
            for name, value in values.items():
                writer.add_scalar(name, value, step)
        writer.add_text("settings", "\n".join(f"- {name}: `{value}`" for name, value in run.settings.items()))
    draft.rename(folder)


def _overview(folder: Path, tracked: Tracked) -> None:
    import numpy as np
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer.add_text("table", tracked.table)
        for path in tracked.figures:
            writer.add_image(path.stem, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")
