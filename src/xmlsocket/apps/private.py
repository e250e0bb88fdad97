"""What one node's chat hands to another's when somebody there is told something, and what comes back.

JSON, which has no NUL in it. Keys that are not known are ignored, so that nodes of two versions understand each other.
"""

from __future__ import annotations

import json


def write(sender: str, at: float, text: str) -> str:
    """Write a private message."""
    return json.dumps({"from": sender, "at": at, "text": text})


def read(message: str) -> tuple[str, float, str]:
    """Read one: the sender, when, and the text."""
    found = json.loads(message)
    return str(found["from"]), float(found["at"]), str(found["text"])


def write_answer(name: str, problem: str = "") -> str:
    """Write who got it as they write their name, or why it could not be sent to them."""
    return json.dumps({"name": name, "problem": problem})


def read_answer(answer: str) -> tuple[str, str]:
    """Read that."""
    found = json.loads(answer)
    return str(found["name"]), str(found.get("problem", ""))
