"""What can go wrong, said in one sentence, and the nearest known name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LISTED, NEAR = 60, 10
"""As many known names are listed; of more, the nearest few."""


class UserError(Exception):
    """Bad input: one clear sentence that names the file, the key or the image; the command exits with 2."""

    def __init__(self, sentence: str) -> None:
        # What is quoted in it may hold line breaks.
        super().__init__(" ".join(part for line in sentence.splitlines() if (part := line.strip())) or sentence)


class RenamedWarning(FutureWarning):
    """Something was named as it was called before, which goes on working; the command says so and ends as ever."""


class NewerVersionError(UserError):
    """A file of a newer version of cl_bench, which this one cannot judge and must not touch."""


class StageFailedError(Exception):
    """A stage could not be trained to its end (an exception, or a loss that is not finite)."""


class DivergedError(StageFailedError):
    """A loss that is not finite; the same stage would come to it again."""


def describe_error(error: BaseException) -> str:
    """Return kind and message of an error of foreign code, which may be unable to say what it is, on one line."""
    try:
        message = " ".join(str(error).split())
    except BaseException:
        message = "it cannot say what is wrong"
    return f"{type(error).__name__}: {message}"


def unknown_name_error(what: str, name: str, known: Iterable[str], more: str = "") -> UserError:
    """Return the error for a `name` that is none of the `known` ones, with the nearest of them; more: another hint."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1) or _but_for_case(name, names)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"
    if not close and len(names) > LISTED:
        near = get_close_matches(name.lower(), names, n=NEAR, cutoff=0)
        hint = f"there are {len(names)}, the nearest: {', '.join(near)}"
    return UserError(f"unknown {what} {name!r}; {hint}{more}")


def _but_for_case(name: str, names: Iterable[str]) -> list[str]:
    cased = {one.lower(): one for one in names}
    return [cased[one] for one in get_close_matches(name.lower(), cased, n=1)]
