"""What is said of options and values that no command takes: how they are written here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

LISTS = ("--strategies", "--seeds", "--orders", "--columns", "--runtimes", "--classes")
"""Options of one value each, in which commas separate several."""
OTHERWISE = {
    "--workers": "-j N trains N stages side by side",
    "--num-workers": "-j N trains N stages side by side",
    "--n-jobs": "-j N trains N stages side by side",
    "--resume": "the same command again goes on where it stopped",
    "--continue": "the same command again goes on where it stopped",
    "--gpu": "a GPU is used by --set device=cuda",
    "--cuda": "a GPU is used by --set device=cuda",
    "--verbose": "all is told as it is; --debug adds an error's traceback, and -q tells less",
    "--config": "the experiment, a preset's name or a YAML file, stands by itself",
    "--results": "the folder of results is CL_BENCH_RESULTS, in the environment",
    "--output-dir": "the folder of results is CL_BENCH_RESULTS, in the environment",
}
"""Options of other tools, and how it is done here."""


def better(error: Any, words: Sequence[str], options: Sequence[str]) -> None:
    """Say in `error`, of typer's, how what was meant is written.

    words: those of the command line behind the command; options: all that the command has.
    """
    message = str(error.message)
    # What is no option has possibilities; of one that lacks its value the message is right.
    if (option := getattr(error, "option_name", "")) and hasattr(error, "possibilities"):
        if said := _of_option(option, words, options):
            error.message, error.possibilities = f"No such option: {option}; {said}", None
        elif close := get_close_matches(option, options, n=1):
            error.message, error.possibilities = f"No such option: {option}; did you mean {close[0]}?", None
    elif message.startswith("Got unexpected extra argument"):
        error.message = f"{message.rstrip('.')}{_of_extra(words)}"
    else:
        error.message = _of_choice(message.removeprefix("Value error, "))


def _of_option(option: str, words: Sequence[str], options: Sequence[str]) -> str:
    """Return how what `option`, one of `words`, seems to mean is said to a command that has `options`."""
    if "--set" not in options:
        return ""
    if option in OTHERWISE:
        return OTHERWISE[option]
    from cl_bench.config.keys import find
    from cl_bench.errors import UserError

    name = option.lstrip("-").replace("-", "_")
    if f"--{name}" in options or get_close_matches(option, options, n=1, cutoff=0.85):
        return ""
    try:
        key = find(name)
    except UserError:
        return ""
    if f"--{key.name}" in options:
        return f"did you mean --{key.name}?"
    given = [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
    given += [after for word, after in pairwise(words) if word == option and not after.startswith("-")]
    value = given[0] if given else key.example
    return f"settings are changed by --set {key.name}={value if ' ' not in value else repr(value)}"


def _of_extra(words: Sequence[str]) -> str:
    for place, word in enumerate(words):
        values = _values(words[place + 1 :])
        if word in LISTS and len(values) > 1:
            return f"; {word} takes one value: separate several by commas, as in {word} {','.join(values)}"
        if word == "--set" and len(values) > 1 and "=" not in values[0]:
            return f"; --set takes KEY=VALUE, as in --set {values[0]}={values[1]}"
        if word == "--set" and len(values) > 1 and all("=" in value for value in values):
            return f"; --set takes one setting, and is repeated: {' '.join(f'--set {value}' for value in values)}"
    return ""


def _values(words: Sequence[str]) -> list[str]:
    """Return the words up to the next option."""
    ends = [place for place, word in enumerate(words) if word.startswith("-") and not word[1:2].isdigit()]
    return list(words[: ends[0]] if ends else words)


def _of_choice(message: str) -> str:
    found = re.fullmatch(r"'(.*)' is not one of (.*?)\.?", message)
    if not found:
        return message
    close = get_close_matches(found[1].lower(), re.findall(r"'([^']*)'", found[2]), n=1)
    return f"{message.rstrip('.')}; did you mean {close[0]!r}?" if close else message
