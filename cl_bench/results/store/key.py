"""What makes a stage itself: equal keys are trained once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NUMERICS = 2
"""Raised by every change to this package that changes the bits of a trained stage."""


def stage_key(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that decides a stage's bits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
