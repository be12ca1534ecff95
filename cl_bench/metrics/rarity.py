"""Which classes a score hangs on by few objects; no torch, as what reads results says it, too."""

from __future__ import annotations

from collections.abc import Sequence


def rare_classes(classes: Sequence[str], counts: Sequence[int], fewer_than: int = 50) -> str:
    """Return a sentence that names the classes with fewer true boxes than `fewer_than`, rarest first.

    counts: the true boxes of each of `classes`. A class without any is left out, as it is of the score; the sentence is
    empty where no class is that rare.
    """
    rare = sorted((count, index) for index, count in enumerate(counts) if 0 < count < fewer_than)
    listed = ", ".join(f"{classes[index]} {count}" for count, index in rare)
    return f"AP50 hangs on few true boxes: {listed}" if rare else ""
