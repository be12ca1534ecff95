"""Where figures come from: commit, machine and command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path


def origin() -> str:
    """Return the commit and the machine of what is done now, as one text."""
    from cl_bench.utils.machine import processor

    return ", ".join(part for part in (commit(), processor()) if part)


def commit() -> str:
    """Return the commit of the installed source, with `+changes` where it was edited; empty outside a clone."""

    def git(*words: str) -> str:
        found = subprocess.run(
            ["git", *words], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
        )
        return found.stdout.strip() if found.returncode == 0 else ""

    folders = [f"../{name}" for name in ("strategies", "experiments")]
    try:
        # Or it is the user's own project, somewhere in which this package is installed.
        ours = git("ls-files", "--error-unmatch", "__init__.py")
        found = ours and git("rev-parse", "--short=12", "HEAD")
        return f"{found}+changes" if found and git("status", "--porcelain", "--", ".", *folders) else found
    except OSError:
        return ""


def command_line() -> str:
    """Return the command as the user typed it."""
    return shlex.join(["cl-bench", *sys.argv[1:]])
