"""A small assembler for movies of ActionScript 1 and 2, and the movie that the tests play.

The numbers are those of Adobe's SWF File Format Specification, version 19. ``python -m tests.browser.avm1`` writes the
movie anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

MOVIE: Final = Path(__file__).with_name("swf") / "avm1.swf"
VERSION: Final = 8  # the first with ExternalInterface

Value: TypeAlias = str | bool | int | None

POP: Final = b"\x17"
GET_VARIABLE: Final = b"\x1c"
SET_VARIABLE: Final = b"\x1d"
NEW_OBJECT: Final = b"\x40"
ADD: Final = b"\x47"
GET_MEMBER: Final = b"\x4e"
SET_MEMBER: Final = b"\x4f"
CALL_METHOD: Final = b"\x52"
_PUSH: Final = 0x96
_DEFINE_FUNCTION: Final = 0x9B
_END: Final = b"\0"

_SHOW_FRAME: Final = 1
_BACKGROUND: Final = 9
_DO_ACTION: Final = 12
_FILE_ATTRIBUTES: Final = 69


def text_of(value: str) -> bytes:
    return value.encode() + b"\0"


def action(code: int, body: bytes) -> bytes:
    return struct.pack("<BH", code, len(body)) + body


def push(*values: Value) -> bytes:
    """Put values on the stack, the last one on top."""
    return action(_PUSH, b"".join(map(_pushed, values)))


def _pushed(value: Value) -> bytes:
    match value:
        case None:
            return b"\x02"
        case bool():
            return b"\x05" + bytes([value])
        case int():
            return b"\x07" + struct.pack("<i", value)
        case str():
            return b"\0" + text_of(value)


def variable(name: str) -> bytes:
    return push(name) + GET_VARIABLE


def member(target: bytes, name: str) -> bytes:
    return target + push(name) + GET_MEMBER


def element(target: bytes, name: bytes) -> bytes:
    """Read a member whose name is computed."""
    return target + name + GET_MEMBER


def assign(target: bytes, name: bytes, value: bytes) -> bytes:
    return target + name + value + SET_MEMBER


def new(class_name: str) -> bytes:
    return push(0, class_name) + NEW_OBJECT


def call(target: bytes, method: str, *arguments: bytes) -> bytes:
    """Call a method, and leave its result on the stack."""
    # The first argument is taken from the top.
    return b"".join(reversed(arguments)) + push(len(arguments)) + target + push(method) + CALL_METHOD


def function(parameters: Iterable[str], *statements: bytes) -> bytes:
    """Put a function without a name on the stack."""
    names = list(parameters)
    body = b"".join(statements)
    header = text_of("") + struct.pack("<H", len(names)) + b"".join(map(text_of, names)) + struct.pack("<H", len(body))
    return action(_DEFINE_FUNCTION, header) + body


def tag(code: int, body: bytes) -> bytes:
    return struct.pack("<HI", code << 6 | 0x3F, len(body)) + body


def movie(*statements: bytes) -> bytes:
    """A movie of one frame, 1 x 1 pixel, which carries out the statements once."""
    rectangle = b"\x30\x0a\x00\xa0"  # fields of 6 bits: 0, 20, 0, 20, in twentieths of a pixel
    body = rectangle + struct.pack("<HH", 30 << 8, 1)
    body += tag(_FILE_ATTRIBUTES, struct.pack("<I", 0))
    body += tag(_BACKGROUND, b"\xff\xff\xff")
    body += tag(_DO_ACTION, b"".join(statements) + _END)
    body += tag(_SHOW_FRAME, b"") + tag(0, b"")
    return b"FWS" + struct.pack("<BI", VERSION, len(body) + 8) + body


def driver() -> bytes:
    """The movie: sockets that the page works by ``connect``, ``send`` and ``close``, with all events reported.

    Texts have a colon in front on their way between page and movie, where an empty one would become "null".
    """
    root, this = variable("_root"), variable("this")
    external = member(member(variable("flash"), "external"), "ExternalInterface")
    socket = element(root, variable("name"))

    def report(event: str, *text: bytes) -> bytes:
        detail = push(":") + (text[0] + ADD if text else b"")
        return call(external, "call", push("report"), member(this, "name"), push(event), detail) + POP

    def callback(name: str, parameters: Iterable[str], *statements: bytes) -> bytes:
        return call(external, "addCallback", push(name), push(None), function(parameters, *statements)) + POP

    prepare = callback(
        "prepare",
        ["name"],
        assign(root, variable("name"), new("XMLSocket")),
        assign(socket, push("name"), variable("name")),
        assign(socket, push("onConnect"), function(["ok"], report("connect", variable("ok")))),
        assign(socket, push("onData"), function(["source"], report("data", variable("source")))),
        assign(socket, push("onClose"), function([], report("close"))),
    )
    return movie(
        prepare,
        callback(
            "connect",
            ["name", "host", "port"],
            call(socket, "connect", variable("host"), variable("port")) + POP,
        ),
        callback("send", ["name", "text"], call(socket, "send", call(variable("text"), "substr", push(1))) + POP),
        callback("close", ["name"], call(socket, "close") + POP),
        call(external, "call", push("report"), push(""), push("ready"), push(":")) + POP,
    )


if __name__ == "__main__":
    MOVIE.write_bytes(driver())
