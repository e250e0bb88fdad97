"""From the bytes of a policy answer to the text of its document."""

from __future__ import annotations

import dataclasses
import re

from ..errors import PolicyError
from .quoting import quote

BLANKS = " \t\r\n"

_BYTE_ORDER_MARK = "\ufeff"
_WIDE_STARTS = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<\0", b"\0\0\0<", b"\0\0\xfe\xff")
_DECLARED_ENCODING = re.compile(rb"""<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,39})["']""")
# All of them have ASCII where ASCII is, so that the XML declaration reads the same in each.
_SUPPORTED_ENCODING = re.compile(
    r"utf-?8|(?:us-)?ascii|iso-8859-[0-9]{1,2}|latin-?1|(?:windows-|cp)125[0-8]|koi8-[ru]"
    r"|shift[_-]jis|euc-(?:jp|kr)|gb2312|gbk|gb18030|big5",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """The text of a document, and what was taken off to get at it.

    Attributes:
        text: From the first ``<`` or other visible character to the end.
        line: Line where the text starts, from 1.
        column: Column where it starts, from 1.
        has_byte_order_mark: A UTF-8 byte order mark stood in front.
        has_leading_blanks: Blanks stood before an XML declaration, where XML allows none.
    """

    text: str
    line: int = 1
    column: int = 1
    has_byte_order_mark: bool = False
    has_leading_blanks: bool = False

    def place(self, line: int, column: int) -> tuple[int, int]:
        """Turn a place in the text, both numbers from 1, into one in the file."""
        return line + self.line - 1, column + (self.column - 1 if line == 1 else 0)


def cut_document(data: bytes, *, strict: bool, max_size: int | None) -> bytes:
    """Cut an answer at its first NUL.

    Raises:
        PolicyError: It is UTF-16 or UTF-32, it is too long, or (strict) the NUL is missing.
    """
    if data.startswith(_WIDE_STARTS):
        raise PolicyError(
            "the file is UTF-16 or UTF-32 text; its NUL bytes end it after the first character. Save it as UTF-8",
            1,
            1,
            "SP005",
        )
    end = data.find(b"\0", 0, None if max_size is None else max_size + 1)
    size = len(data) if end < 0 else end
    if max_size is not None and size > max_size:
        raise PolicyError(f"the file is longer than max_policy_size ({max_size} bytes)", rule="SP006")
    if strict and end < 0:
        raise PolicyError("the NUL that ends the document is missing", rule="SP003")
    return data[:size]


def decode_document(document: bytes, *, strict: bool) -> Source:
    """Decode a document and take off what players are thought to overlook in front of it.

    Raises:
        PolicyError: The encoding is unknown, the bytes are not in it, or (strict) something stands in
            front of the XML declaration.
    """
    text = _decode(document)
    has_mark = text.startswith(_BYTE_ORDER_MARK)
    if has_mark and strict:
        raise PolicyError("a byte order mark stands before the document", 1, 1, "SP001")
    text = text.removeprefix(_BYTE_ORDER_MARK)
    body = text.lstrip(BLANKS)
    has_blanks = len(body) < len(text) and body.startswith("<?xml")
    if has_blanks and strict:
        raise PolicyError("blanks stand before the XML declaration", 1, 1, "SP001")
    line, column = locate(text, len(text) - len(body))
    return Source(body, line, column, has_mark, has_blanks)


def _decode(document: bytes) -> str:
    declared = _DECLARED_ENCODING.match(document.removeprefix(b"\xef\xbb\xbf").lstrip(BLANKS.encode()))
    encoding = declared[1].decode("ascii") if declared else "utf-8"
    if document.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8"
    if not _SUPPORTED_ENCODING.fullmatch(encoding):
        raise PolicyError(f"the file says that its encoding is {quote(encoding)}; save it as UTF-8", 1, 1, "SP001")
    try:
        return document.decode(encoding)
    except LookupError as error:
        raise PolicyError(f"there is no encoding {quote(encoding)}; save it as UTF-8", 1, 1, "SP001") from error
    except UnicodeDecodeError as error:
        line, column = locate(document[: error.start].decode(encoding, "replace"), None)
        detail = f"the byte 0x{document[error.start]:02x} is not {encoding}; save the file as UTF-8"
        raise PolicyError(detail, line, column, "SP001") from error


def locate(text: str, index: int | None) -> tuple[int, int]:
    """Find line and column, both from 1, of an index into the text; ``None`` is its end."""
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return before.count("\n") + 1, len(before) - before.rfind("\n")
