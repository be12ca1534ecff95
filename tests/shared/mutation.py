"""Seeded damage to the text of label files, row by row, so that it is known which rows are unharmed."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Sequence

CASES = int(os.environ.get("CL_BENCH_FUZZ", "300"))
"""How many damaged files each test reads; `make fuzz` sets it higher."""

SIGNS = [
    *"0159.-+eE_ ,:;<>/&'\"[]{}#!=%nNxé\u0661",
    "\u0661",
    "\t",
    "\n",
    "\r",
    "\x0b",
    "\x1c",
    "\x85",
    "\u2028",
    "\xa0",
    "\0",
    "\ufeff",
]
TOKENS = [
    *("", "-1", "-0", "0", "1", "2", "00", "1e999", "1e308", "1e-320", "NaN", "nan", "inf", "-Infinity", "1_0", "0_5"),
    *("5.", ".5", "0x10", "7" * 400, "true", "null", "[]", "{}", '"5"', "'", "1,5", "1 0", "\u0663", "½", "2.0", "1e0"),
]
NAMES = ["thing", "", "Object", "a b", "x" * 300, "..", "2001-99-99", "\0", "!!int foo", "&x *x", "[" * 3000, "C:\\\\x"]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
WORD = re.compile(r"[A-Za-z_]{3,}")


def damaged(text: str, draw: random.Random) -> str:
    """Return `text` after one to three changes: of a sign, a slice, a number or every use of a word."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        text = draw.choice((_sign, _sign, _slice, _number, _number, _word))(text, draw)
    return text


def _sign(text: str, draw: random.Random) -> str:
    place, sign = draw.randint(0, len(text)), draw.choice(SIGNS)
    return text[:place] + draw.choice((sign, sign, "")) + text[place + draw.choice((0, 1)) :]


def _slice(text: str, draw: random.Random) -> str:
    first, last = sorted((draw.randint(0, len(text)), draw.randint(0, len(text))))
    return draw.choice((text[:first] + text[last:], text[:last] + text[first:], text[:first]))


def _number(text: str, draw: random.Random) -> str:
    return _replaced(text, NUMBER, draw.choice(TOKENS), draw)


def _word(text: str, draw: random.Random) -> str:
    words = WORD.findall(text)
    return text.replace(draw.choice(words), draw.choice(NAMES)) if words else text


def _replaced(text: str, pattern: re.Pattern[str], token: str, draw: random.Random) -> str:
    found = list(pattern.finditer(text))
    if not found:
        return text
    one = draw.choice(found)
    return text[: one.start()] + token + text[one.end() :]


def some(rows: Sequence[str], draw: random.Random) -> tuple[list[str], set[int]]:
    """Return `rows` with none, one or two of them damaged, and the places of those that were."""
    places = set(draw.sample(range(len(rows)), min(draw.choice((0, 1, 1, 2)), len(rows))))
    made = [damaged(row, draw) if place in places else row for place, row in enumerate(rows)]
    return made, {place for place in places if made[place] != rows[place]}


def as_bytes(text: str, draw: random.Random) -> bytes:
    """Return `text` as a file holds it: in UTF-8 mostly, with a mark of it, in another encoding, or torn."""
    how = draw.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "latin-1", "torn", "bytes"))
    if how in ("torn", "bytes"):
        content = bytearray(text.encode())
        if how == "torn":
            return bytes(content[: draw.randint(0, len(content))])
        content[(place := draw.randint(0, len(content))) : place] = bytes([draw.randint(128, 255)])
        return bytes(content)
    return text.encode(how, "replace")
