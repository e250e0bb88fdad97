"""What the values of ``domain`` and ``to-ports`` mean, and what they match.

Every rule on odd values stands in this module: where a real player turns out to differ, this is the
place to change. Values that are not understood match nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from ..errors import PolicyError
from .quoting import quote

Host = IPv4Address | IPv6Address | str
"""A host in the form in which hosts are compared: an address, or a lower-case name in A-labels."""

MAX_PORT = 65_535
FIRST_HIGH_PORT = 1024
"""The lowest port that counts as high; a policy from a high port grants high ports only."""

_Check = Callable[[str, str], None]
_MAX_NAME_LENGTH = 255
_BLANKS = " \t\r\n"
_PORT_ITEM = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def parse_host(text: str) -> Host:
    """Bring a host into the form in which hosts are compared.

    IPv6 addresses may stand in brackets. Names become lower case, and international labels A-labels
    (IDNA 2003, the one of the player's time). A trailing dot stays: to the player
    ``example.com.`` is another host. A name that IDNA refuses stays as it is, and equals only itself.
    """
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ip_address(inner)
    except ValueError:
        return to_ascii(text) or text
    if inner is not text and isinstance(address, IPv4Address):
        return text
    return address


def to_ascii(name: str) -> str | None:
    """Bring a name to lower-case A-labels; ``None`` when IDNA refuses it."""
    if name.isascii():
        return name.lower()
    if len(name) > _MAX_NAME_LENGTH:  # the codec takes quadratic time
        return None
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None


def format_host(host: Host) -> str:
    """Write a host as the player prints it: IPv6 in brackets and in its long form, without leading zeros."""
    if not isinstance(host, IPv6Address):
        return str(host)
    number = int(host)
    if number <= 1:
        return f"[{host.compressed}]"
    high, low = number >> 32, number & 0xFFFF_FFFF
    if high == 0xFFFF:
        return f"[::ffff:{IPv4Address(low)}]"
    if high == 0:
        return f"[::{IPv4Address(low)}]"
    return "[" + ":".join(f"{(number >> shift) & 0xFFFF:x}" for shift in range(112, -1, -16)) + "]"


class PatternKind(enum.Enum):
    """How the value of ``domain`` matches."""

    ANY = "every requester, local files included"
    SUFFIX = "a name and every name below it"
    EXACT = "one host"


@dataclasses.dataclass(frozen=True, slots=True)
class DomainPattern:
    """A valid value of ``domain``: whom it matches.

    Attributes:
        kind: How it matches.
        host: The host, or the name after ``*.``; an empty string for ``*``.
    """

    kind: PatternKind
    host: Host

    def matches(self, requester: Host | None) -> bool:
        """Tell whether it matches the requester's host; ``None`` is a local file, which only ``*`` matches."""
        if self.kind is PatternKind.ANY:
            return True
        if requester is None:
            return False
        if self.kind is PatternKind.EXACT:
            return requester == self.host
        return isinstance(requester, str) and (requester == self.host or requester.endswith(f".{self.host}"))

    def covers(self, other: DomainPattern) -> bool:
        """Tell whether it matches everything that the other pattern matches."""
        if self.kind is PatternKind.ANY:
            return True
        if other.kind is PatternKind.ANY or (other.kind is PatternKind.SUFFIX and self.kind is PatternKind.EXACT):
            return False
        return self.matches(other.host)


def parse_domain(text: str) -> DomainPattern:
    """Understand a value of ``domain``.

    Raises:
        PolicyError: It matches nothing; the message says why and what to write instead.
    """
    if text == "*":
        return DomainPattern(PatternKind.ANY, "")
    if text.startswith("*."):
        suffix = text[2:]
        _check_name(text, suffix, _check_suffix)
        return DomainPattern(PatternKind.SUFFIX, to_ascii(suffix) or suffix)
    host = parse_host(text)
    if isinstance(host, str):
        _check_name(text, text, _check_exact)
    return DomainPattern(PatternKind.EXACT, host)


def _check_name(text: str, name: str, check_wildcard: _Check) -> None:
    if not text:
        raise _domain_error(text, "is empty; write the domain that the SWF is loaded from")
    if text != text.strip() or any(character.isspace() for character in text):
        raise _domain_error(text, "has a blank; write one domain in each element, without blanks")
    if "://" in text:
        raise _domain_error(text, "has a scheme; write the host alone, as in www.example.com")
    for character, part in (("/", "path"), ("\\", "path"), ("?", "query"), ("#", "fragment"), ("@", "user name")):
        if character in text:
            raise _domain_error(text, f"has a {part}; write the host alone, as in www.example.com")
    check_wildcard(text, name)
    if ":" in name or "[" in name or "]" in name:
        raise _domain_error(text, "has a port or is no IPv6 address; write the host alone, ports belong in to-ports")
    if "," in name or ";" in name:
        raise _domain_error(text, "is a list; write one element for each domain")
    labels = name.removesuffix(".").split(".")
    if not all(labels):
        hint = f"; for all names below it write *{text}" if text.startswith(".") and "*" not in text else ""
        raise _domain_error(text, f"has an empty part between its dots{hint}")
    if to_ascii(name) is None:
        raise _domain_error(text, "is no valid international domain name")


def _check_suffix(text: str, suffix: str) -> None:
    if not suffix or suffix == ".":
        raise _domain_error(text, "has nothing after the wildcard; write * for everybody or *.example.com")
    if "*" in suffix:
        raise _domain_error(text, "has more than one wildcard; write one at the start, as in *.example.com")
    if suffix.removesuffix(".").rpartition(".")[2].isdigit() or ":" in suffix:
        raise _domain_error(text, "has a wildcard in an IP address; list the addresses one by one")


def _check_exact(text: str, name: str) -> None:
    if "*" not in name:
        return
    if all(part.isdigit() or set(part) == {"*"} for part in name.split(".")):
        raise _domain_error(text, "has a wildcard in an IP address; list the addresses one by one")
    if name.startswith("*"):
        hint = "a suffix must begin with a dot, as in *.example.com"
    else:
        hint = "a wildcard stands alone or at the start, as in *.example.com"
    raise _domain_error(text, f"is not a pattern: {hint}")


def _domain_error(text: str, detail: str) -> PolicyError:
    return PolicyError(f"the domain {quote(text)} {detail}", rule="SP013")


def parse_ports(text: str, *, strict: bool = False) -> tuple[range, ...]:
    """Understand a value of ``to-ports``: ports and ranges with both ends included, or ``*``.

    Args:
        text: The value. Blanks around the parts of a list, and ``*`` as a part of it, are tolerated.
        strict: Refuse those two.

    Raises:
        PolicyError: It is empty, or one part is invalid, which makes the whole value void.
    """
    if not text.strip(_BLANKS):
        raise PolicyError("to-ports is empty; name the ports, as in 843,8000-8010", rule="SP011")
    parts = text.split(",")
    return tuple(_parse_part(text, part, is_alone=len(parts) == 1, strict=strict) for part in parts)


def _parse_part(text: str, part: str, *, is_alone: bool, strict: bool) -> range:
    item = part.strip(_BLANKS)
    if strict and item != part:
        raise _ports_error(text, "has blanks")
    if item == "*":
        if strict and not is_alone:
            raise _ports_error(text, "has * inside a list")
        return range(1, MAX_PORT + 1)
    match = _PORT_ITEM.fullmatch(item)
    if match is None:
        raise _ports_error(text, f"has {quote(item, 20)}, neither a port, nor a range such as 8000-8010, nor *")
    first = int(match[1])
    last = int(match[2] or match[1])
    if first < 1 or max(first, last) > MAX_PORT:
        raise _ports_error(text, f"has {quote(item)}; ports go from 1 to {MAX_PORT}")
    if first > last:
        raise _ports_error(text, f"has {quote(item)}, a range from the higher to the lower port")
    return range(first, last + 1)


def _ports_error(text: str, detail: str) -> PolicyError:
    return PolicyError(f"to-ports {quote(text)} {detail}", rule="SP014")


def is_in_authority(port: int, served_from: int) -> bool:
    """Tell whether a policy served from a port may grant another: from 1024 up, only ports from 1024 up."""
    return served_from < FIRST_HIGH_PORT or port >= FIRST_HIGH_PORT


def superdomain(host: Host) -> Host:
    """Take the first label off a name that has more than two, as player 6 did to compare hosts."""
    if not isinstance(host, str) or host.count(".") < 2:
        return host
    return host.partition(".")[2]
