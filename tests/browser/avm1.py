"""A small assembler for movies of ActionScript 1 and 2, and the movies that the tests play.

The numbers are those of Adobe's SWF File Format Specification, version 19. ``python -m tests.browser.avm1`` writes the
movies anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

MOVIE: Final = Path(__file__).with_name("swf") / "avm1.swf"
GAME: Final = MOVIE.with_name("game1.swf")
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


def rectangle(width: int, height: int) -> bytes:
    """The size of a stage: five bits say how long the fields are, which are in twentieths of a pixel."""
    size = 1 + (20 * max(width, height)).bit_length()
    bits = f"{size:05b}" + "".join(f"{20 * value:0{size}b}" for value in (0, width, 0, height))
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def movie(*statements: bytes, width: int = 1, height: int = 1) -> bytes:
    """A movie of one frame, which carries out the statements once."""
    body = rectangle(width, height) + struct.pack("<HH", 30 << 8, 1)
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


def game() -> bytes:
    """A game as people have it: its FlashVars say where the server is, it loads a file, and shows what it hears."""
    root = variable("_root")
    shown, socket, level = (member(root, name) for name in ("shown", "socket", "level"))

    def show(text: bytes) -> bytes:
        return assign(shown, push("text"), member(shown, "text") + text + ADD + push("\n") + ADD)

    greeting = member(root, "player") + push(" ") + ADD + member(root, "source") + ADD
    start = function(
        ["source"],
        assign(root, push("source"), variable("source")),
        assign(root, push("socket"), new("XMLSocket")),
        assign(socket, push("onConnect"), function(["ok"], call(socket, "send", greeting) + POP)),
        assign(socket, push("onData"), function(["text"], show(variable("text")))),
        assign(socket, push("onClose"), function([], show(push("closed")))),
        call(socket, "connect", member(root, "host"), member(root, "port")) + POP,
    )
    place = [push(value) for value in ("shown", 1, 0, 0, 550, 400)]
    return movie(
        call(root, "createTextField", *place) + POP,
        assign(root, push("level"), new("LoadVars")),
        assign(level, push("onData"), start),
        call(level, "load", push("levels/level 1.xml")) + POP,
        width=550,
        height=400,
    )


if __name__ == "__main__":
    MOVIE.write_bytes(driver())
    GAME.write_bytes(game())
