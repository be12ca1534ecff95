"""Which classes a score hangs on by few objects; no torch, as what reads results says it, too."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 20
"""Classes that are named; of more, how many there are."""


def rare_classes(
    classes: Sequence[str], counts: Sequence[int], fewer_than: int = 50, what: str = "AP50 hangs on few true boxes"
) -> str:
    """Return a sentence that names the classes with fewer examples than `fewer_than`, rarest first.

    counts: the examples of each of `classes`; what: the sentence's beginning. A class without any is left out, as it is
    of the score; the sentence is empty where no class is that rare.
    """
    rare = sorted((count, index) for index, count in enumerate(counts) if 0 < count < fewer_than)
    listed = ", ".join(f"{classes[index]} ({count})" for count, index in rare[:SHOWN])
    more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
    return f"{what}: {listed}{more}" if rare else ""
