"""Why a file is not well-formed, in the words of somebody who has seen the usual mistakes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.parsers.expat import ErrorString, errors

from .decoding import BLANKS
from .model import ROOT_NAME
from .quoting import make_printable, quote

_DUPLICATE_ATTRIBUTE = errors.codes[errors.XML_ERROR_DUPLICATE_ATTRIBUTE]
_TAG_MISMATCH = errors.codes[errors.XML_ERROR_TAG_MISMATCH]
_NO_ELEMENTS = errors.codes[errors.XML_ERROR_NO_ELEMENTS]
_JUNK = errors.codes[errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]
_UNDEFINED_ENTITY = errors.codes[errors.XML_ERROR_UNDEFINED_ENTITY]
_UNCLOSED_TOKEN = errors.codes[errors.XML_ERROR_UNCLOSED_TOKEN]
_MISPLACED_DECLARATION = errors.codes[errors.XML_ERROR_MISPLACED_XML_PI]

_TYPOGRAPHIC_QUOTES = "“”„‟‘’‚‛«»″＂"
_NAME = re.compile(r"[^\s=/>\"'<,]+")
_SPACE = re.compile(r"\s*")


def explain_root(name: str) -> str:
    """Say why a root element is not the one of a policy file."""
    if name == "access-policy":
        return "this is a Silverlight access policy; Flash Player wants the root element cross-domain-policy"
    if name.lower() == "html":
        return "this is a web page, not a policy file; something else answers at this place"
    if name == "policy-file-request":
        return "this is the request for a policy file, sent back; the server echoes instead of answering"
    if name.lower() == ROOT_NAME:
        return f"the root element is {quote(name)}; it must be {ROOT_NAME} in lower case"
    return f"the root element is {quote(name)}; it must be {ROOT_NAME}"


def explain_fault(text: str, index: int, code: int, open_names: Sequence[str]) -> tuple[str, int]:
    """Find the cause of a fault that the XML parser met.

    Args:
        text: The document.
        index: Where the parser gave up.
        code: Its error code.
        open_names: Names of the elements that were open there, the root first.

    Returns:
        What is wrong, and the index where it is, which may lie before ``index``.
    """
    if in_front := _explain_start(text):
        return in_front, 0
    # A < where the parser gives up belongs to a value without closing quote, unless that < is itself not closed.
    start = text.rfind("<", 0, index if text.startswith("<", index) and code != _UNCLOSED_TOKEN else index + 1)
    if start >= 0 and text[start + 1 : start + 2].isalpha():
        cause = _explain_tag(text, start)
        if cause is not None and cause[1] <= index:
            return cause
    return _explain_code(text, index, code, open_names)


def _explain_start(text: str) -> str | None:
    if not text.strip(BLANKS):
        return "the document is empty"
    if text.startswith("HTTP/"):
        return (
            "HTTP headers stand in front; a socket policy is sent bare, without HTTP, and a web server cannot serve it"
        )
    head = text[:200].lower()
    if head.startswith(("<!doctype html", "<html")):
        return "this is a web page, not a policy file; something else answers at this place"
    first = text.find("<")
    if first < 0:
        return f"this is not XML; it begins with {quote(text[:30])}"
    if first > 0:
        return f"{quote(text[:first], 30)} stands in front of the document; remove everything before the first <"
    return None


def _explain_tag(text: str, start: int) -> tuple[str, int] | None:
    """Walk through the attributes of a tag as a lenient reader would, up to what is wrong."""
    name = _NAME.match(text, start + 1)
    index = name.end() if name else start + 1
    while True:
        after_blanks = _skip(text, index)
        if text.startswith((">", "/>"), after_blanks):
            return None
        character = text[after_blanks : after_blanks + 1]
        if character in (",", ";"):
            return f"a {quote(character)} stands between attributes; separate them with blanks only", after_blanks
        if character in ("", "<") or text.startswith("/", after_blanks):
            return "the tag that starts here is not closed with >", start
        if after_blanks == index:
            return "a blank is missing between two attributes", index
        fault, index = _explain_attribute(text, after_blanks)
        if fault is not None:
            return fault, index


def _explain_attribute(text: str, start: int) -> tuple[str | None, int]:
    """Read one attribute; return what is wrong and where, or ``None`` and the index after it."""
    match = _NAME.match(text, start)
    if match is None:
        return f"{quote(text[start : start + 1])} stands where an attribute should", start
    name = make_printable(match[0])[:40]
    index = _skip(text, match.end())
    if text[index : index + 1] != "=":
        return f'the attribute {name} has no value; write {name}="…"', start
    index = _skip(text, index + 1)
    delimiter = text[index : index + 1]
    if delimiter and delimiter in _TYPOGRAPHIC_QUOTES:
        return f"the value of {name} stands in typographic quotes; use straight ones", index
    if delimiter not in ('"', "'"):
        return f"the value of {name} does not begin with a quote", index
    end = text.find(delimiter, index + 1)
    value = text[index + 1 : end] if end >= 0 else text[index + 1 :]
    if end < 0 or "<" in value or value.rstrip(BLANKS).endswith("="):
        return f"the value of {name} has no closing quote", index
    if ampersand := re.search(r"&(?!#?\w+;)", value):
        return f"a bare & stands in the value of {name}; write &amp;", index + 1 + ampersand.start()
    return None, end + 1


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    return match.end() if match else index


def _explain_code(text: str, index: int, code: int, open_names: Sequence[str]) -> tuple[str, int]:
    if code == _DUPLICATE_ATTRIBUTE:
        return "an attribute stands twice in one element", index
    if code == _TAG_MISMATCH and open_names:
        closing = _NAME.match(text, index)
        if closing and closing[0].lower() == open_names[-1].lower():
            return f"</{_show(closing[0])}> differs in case from the <{_show(open_names[-1])}> that is open", index
        return f"<{_show(open_names[-1])}> is still open here; end it with /> where it starts", index
    if code == _NO_ELEMENTS and open_names:
        return f"the document ends before </{_show(open_names[0])}>", index
    if code == _JUNK:
        return "something follows the end of the document; there must be one document only", index
    if text.startswith("&", index - 1):
        return "a bare & stands in the text; write &amp;", index - 1
    if code == _UNDEFINED_ENTITY:
        return "an entity is used that XML does not define; write & as &amp;", index
    if code == _MISPLACED_DECLARATION:
        return "the XML declaration does not stand at the very start", index
    if text[index : index + 1] and not text[index].isprintable() and text[index] not in BLANKS:
        return f"the character {quote(text[index])} cannot stand in XML", index
    return f"the XML parser says: {ErrorString(code)}", index


def _show(name: str) -> str:
    return make_printable(name)[:40]
