"""The PROXY protocol, versions 1 and 2: a proxy says before the first byte whom it speaks for.

Without it a server behind a TCP proxy sees the address of the proxy in place of its clients'. Whether the peer is a
proxy that may say so is for the caller to know: anybody can send such a header.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

from ..errors import ProxyHeaderError

Address: TypeAlias = tuple[str, int]
"""IP address and port."""

_V1_START: Final = b"PROXY "
_V1_MAX_SIZE: Final = 107  # the specification's own sum for two IPv6 addresses, with CRLF
_V1_LINE: Final = re.compile(r"PROXY (TCP[46]) (\S+) (\S+) ([0-9]{1,5}) ([0-9]{1,5})")
_V2_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED_SIZE: Final = 16
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_UNKNOWN: Final = 0x00
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_ADDRESS_SIZES: Final = {_TCP4: 4, _TCP6: 16}


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Whom a proxy speaks for.

    Attributes:
        source: The client; ``None`` where the proxy does not know or speaks for itself, as in a health check. Then the
            addresses of the connection hold.
        destination: Where the client connected to; ``None`` together with ``source``.
    """

    source: Address | None
    destination: Address | None


class ProxyHeaderDecoder:
    """Read the header at the start of a connection, in any pieces.

    Attributes:
        rest: What follows the header, once it is there: the first bytes of the client.
    """

    __slots__ = ("_data", "rest")

    def __init__(self) -> None:
        self._data = b""
        self.rest = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take the next bytes.

        Returns:
            The header, or ``None`` while bytes are missing. After the header feed no more.

        Raises:
            ProxyHeaderError: This is no such header; said as soon as it is certain.
        """
        self._data += data
        if self._data.startswith(_V2_START[: len(self._data)]):
            return self._decode_v2()
        if self._data.startswith(_V1_START[: len(self._data)]):
            return self._decode_v1()
        raise ProxyHeaderError(f"the connection begins with {self._data[:16]!r}, which is no PROXY protocol header")

    def _decode_v1(self) -> ProxyHeader | None:
        end = self._data.find(b"\r\n", 0, _V1_MAX_SIZE)
        if end < 0:
            if len(self._data) >= _V1_MAX_SIZE:
                raise ProxyHeaderError(f"the PROXY line does not end within {_V1_MAX_SIZE} bytes")
            return None
        self.rest = self._data[end + 2 :]
        line = self._data[:end].decode("latin-1")
        if line == "PROXY UNKNOWN" or line.startswith("PROXY UNKNOWN "):
            return ProxyHeader(None, None)
        match = _V1_LINE.fullmatch(line)
        if match is None:
            raise ProxyHeaderError(f"the PROXY line {line!r} is malformed")
        kind = IPv4Address if match[1] == "TCP4" else IPv6Address
        try:
            source, destination = kind(match[2]), kind(match[3])
        except ValueError as error:
            raise ProxyHeaderError(f"the PROXY line {line!r} has a bad address: {error}") from None
        ports = int(match[4]), int(match[5])
        if max(ports) > 0xFFFF:
            raise ProxyHeaderError(f"the PROXY line {line!r} has a port above 65535")
        return ProxyHeader((str(source), ports[0]), (str(destination), ports[1]))

    def _decode_v2(self) -> ProxyHeader | None:
        data = self._data
        if len(data) < _V2_FIXED_SIZE:
            return None
        command, family = data[12], data[13]
        if command not in (_LOCAL, _PROXY):
            raise ProxyHeaderError(f"the PROXY header has version and command {command:#04x}; known are 0x20 and 0x21")
        end = _V2_FIXED_SIZE + int.from_bytes(data[14:16], "big")
        size = _ADDRESS_SIZES.get(family)
        if command == _PROXY and size is not None and end - _V2_FIXED_SIZE < 2 * size + 4:
            raise ProxyHeaderError(f"the PROXY header is too short for its addresses ({end - _V2_FIXED_SIZE} bytes)")
        if len(data) < end:
            return None
        self.rest = data[end:]
        if command == _LOCAL or size is None:  # other families are no addresses of clients
            return ProxyHeader(None, None)
        at = _V2_FIXED_SIZE
        kind = IPv4Address if family == _TCP4 else IPv6Address
        source, destination = kind(data[at : at + size]), kind(data[at + size : at + 2 * size])
        at += 2 * size
        ports = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        return ProxyHeader((str(source), ports[0]), (str(destination), ports[1]))


def encode_proxy_header(source: Address | None, destination: Address | None, *, version: Literal[1, 2] = 1) -> bytes:
    """Make the header that tells a server whom we speak for.

    Args:
        source: The client, or ``None`` if its address is unknown.
        destination: Where it connected to, or ``None`` if unknown; then the source is not told either.
        version: 1 is a line of text, 2 is binary.

    Raises:
        ValueError: One of them is no IP address.
    """
    if source is None or destination is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _V2_START + bytes((_PROXY, _UNKNOWN, 0, 0))
    addresses = _same_family(_parse(source[0]), _parse(destination[0]))
    ports = source[1], destination[1]
    is_v4 = isinstance(addresses[0], IPv4Address)
    if version == 1:
        family = "TCP4" if is_v4 else "TCP6"
        return f"PROXY {family} {addresses[0]} {addresses[1]} {ports[0]} {ports[1]}\r\n".encode("ascii")
    body = b"".join(address.packed for address in addresses) + b"".join(port.to_bytes(2, "big") for port in ports)
    return _V2_START + bytes((_PROXY, _TCP4 if is_v4 else _TCP6)) + len(body).to_bytes(2, "big") + body


def _parse(text: str) -> IPv4Address | IPv6Address:
    """Read an address, without the zone of a link-local one; IPv4 written as IPv6 becomes IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _same_family(*addresses: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    if all(isinstance(address, IPv4Address) for address in addresses):
        return addresses
    return tuple(
        IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed) if isinstance(address, IPv4Address) else address
        for address in addresses
    )
