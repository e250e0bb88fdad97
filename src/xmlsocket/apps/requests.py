"""A chat client's request, read with expat from the bytes of one message.

A request is one element with attributes and text. Nothing else is needed, so nothing else gets in: a document type,
which is where entities come from, and an element inside the request end the parsing at once. The encoding is UTF-8
whatever a declaration says. Comments and processing instructions mean nothing, as XML has it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast
from xml.parsers import expat

from ..limits import ChatLimits

_NUMBER = re.compile("[0-9]{1,18}")


class RequestError(Exception):
    """A request is refused, and the client is told so. Never leaves the chat.

    Attributes:
        code: For programs, such as ``"unknown-room"``.
        sentence: For people.
        line: Where in the message it is, from 1.
        column: From 1, in characters.
        ref: The request's reference, as far as it was read.
    """

    def __init__(self, code: str, sentence: str, line: int, column: int, ref: str | None) -> None:
        super().__init__(code, sentence, line, column, ref)
        self.code = code
        self.sentence = sentence
        self.line = line
        self.column = column
        self.ref = ref


@dataclass(slots=True)
class Request:
    """What a client asks for.

    Attributes:
        kind: The name of the element.
        attributes: All of them, known or not.
        text: The text in it.
        line: Where in the message its tag begins, from 1.
        column: From 1, in characters.
        ref: What the answer carries back.
    """

    kind: str
    attributes: dict[str, str]
    text: str
    line: int
    column: int
    ref: str | None

    def error(self, code: str, sentence: str) -> RequestError:
        """Make the error that refuses this request."""
        return RequestError(code, sentence, self.line, self.column, self.ref)

    def required(self, name: str) -> str:
        """Read an attribute that must be there.

        Raises:
            RequestError: It is not.
        """
        value = self.attributes.get(name)
        if value is None:
            raise self.error("missing-attribute", f"The request <{self.kind}> needs the attribute {name}.")
        return value

    def number(self, name: str) -> int | None:
        """Read an attribute that is a whole number, if it is there.

        Raises:
            RequestError: It is something else.
        """
        value = self.attributes.get(name)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value):
            raise self.error(
                "bad-attribute", f"The attribute {name} is a whole number of 0 or more, not {shorten(value)}."
            )
        return int(value)


class RequestParser:
    """Reads requests, one after the other.

    Args:
        kinds: The requests there are.
        limits: Bounds what is in them.
    """

    def __init__(self, kinds: Collection[str], limits: ChatLimits) -> None:
        self._kinds = kinds
        self._limits = limits
        self._request: Request | None = None
        self._parser: Any = None

    def parse(self, message: bytes) -> Request:
        """Read a message.

        Raises:
            RequestError: It is no request.
        """
        self._request = None
        self._parser = parser = expat.ParserCreate("UTF-8")
        text: list[str] = []
        parser.StartElementHandler = self._start
        parser.CharacterDataHandler = text.append
        parser.StartDoctypeDeclHandler = self._refuse_document_type
        try:
            parser.Parse(message, True)
        except expat.ExpatError as error:
            raise self._explain(error, message) from None
        finally:
            self._parser = None  # it holds a copy of the message
        request = cast("Request", self._request)
        request.text = text[0] if len(text) == 1 else "".join(text)
        if len(request.text) > self._limits.max_text_length:
            raise request.error("too-long", f"The text is longer than {self._limits.max_text_length} characters.")
        return request

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        parser = self._parser
        line, column = parser.CurrentLineNumber, parser.CurrentColumnNumber + 1
        if self._request is not None:
            raise RequestError(
                "unexpected-element",
                f"A request has no elements in it, and this one has <{shorten(name)}>; write < in a text as &lt;.",
                line,
                column,
                self._request.ref,
            )
        ref = attributes.get("ref")
        if ref is not None and len(ref) > self._limits.max_ref_length:
            sentence = f"The attribute ref is longer than {self._limits.max_ref_length} characters."
            raise RequestError("too-long", sentence, line, column, None)
        self._request = request = Request(name, attributes, "", line, column, ref)
        if name not in self._kinds:
            known = ", ".join(self._kinds)
            raise request.error("unknown-request", f"There is no request <{shorten(name)}>; there are {known}.")
        if len(attributes) > self._limits.max_attributes:
            sentence = (
                f"A request has at most {self._limits.max_attributes} attributes, and this one {len(attributes)}."
            )
            raise request.error("too-many-attributes", sentence)

    def _refuse_document_type(self, *declaration: object) -> None:
        parser = self._parser
        raise RequestError(
            "forbidden-markup",
            "Document types, and the entities they declare, are not accepted.",
            parser.CurrentLineNumber,
            parser.CurrentColumnNumber + 1,
            None,
        )

    def _explain(self, error: expat.ExpatError, message: bytes) -> RequestError:
        if not message.strip():
            sentence = "The message is empty."
        else:
            sentence = f"The message is not well-formed XML: {expat.ErrorString(error.code)}."
            try:
                message.decode()
            except UnicodeDecodeError as invalid:
                if invalid.start <= self._parser.ErrorByteIndex:
                    sentence = "The message is not valid UTF-8."
        ref = None if self._request is None else self._request.ref
        return RequestError("ill-formed", sentence, error.lineno, error.offset + 1, ref)


def shorten(value: str) -> str:
    """Quote what a client sent in a sentence, which must stay one."""
    return value if len(value) <= 40 else value[:40] + "…"
