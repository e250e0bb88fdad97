"""The client's address behind an HTTP proxy, as far as trusted proxies tell it.

``X-Forwarded-For`` and ``Forwarded`` (RFC 7239) are lists that every proxy on the way adds to at the end. Anybody can
send them, so they are read from the end, and only as long as the one who wrote an entry is trusted. Only one of the two
is read: a proxy that writes the one passes the other on unchanged, as the client invented it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from ..errors import ConfigurationError

Network: TypeAlias = IPv4Network | IPv6Network

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_ELEMENT: Final = re.compile(rf'(?:[^",]|{_QUOTED})*')
_PAIR: Final = re.compile(rf'\s*([^\s=;",]+)=({_QUOTED}|[^",;]*)')
_MAX_ELEMENT_SIZE: Final = 512


def trusted_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks such as ``127.0.0.1``, ``10.0.0.0/8`` and ``fd00::/8``.

    Raises:
        ConfigurationError: One is neither; a network with bits set beyond its prefix is refused too.
    """
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text.strip()))
        except ValueError as error:
            raise ConfigurationError(f"{text!r} is no address or network to trust: {error}") from None
    return tuple(networks)


def is_trusted(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address, as a socket gives it, is in one of the networks."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def client_address(
    peer: str, headers: Iterable[tuple[str, str]], networks: Sequence[Network], *, header: str = "X-Forwarded-For"
) -> str:
    """Find out for whom a request was forwarded.

    Args:
        peer: Address of the other end of the connection.
        headers: Names and values of the request, in order.
        networks: The proxies to believe.
        header: The one that they write: ``X-Forwarded-For`` or ``Forwarded``.

    Returns:
        The address nearest to the client that a trusted proxy vouches for, without a port; ``peer`` itself if that is
        no trusted proxy, or tells nothing that is an address.
    """
    name = header.lower()
    value = ",".join(text for key, text in headers if key.lower() == name)
    found = peer
    for entry in _forwarded_backwards(value) if name == "forwarded" else reversed(value.split(",")):
        if not is_trusted(found, networks):
            break
        address = _parse(_without_port(entry.strip()))
        if address is None:  # "unknown", or a name that hides the address: the one who wrote it is all we know
            break
        found = str(address)
    return found


def _forwarded_backwards(value: str) -> Iterator[str]:
    """Give the ``for`` of each element, the last first; empty where there is none.

    Read from the end as well, so that a quotation mark that the client left open cannot swallow what a proxy added.
    """
    end = start = len(value)
    while end >= 0:
        start = value.rfind(",", 0, start)
        element = value[start + 1 : end]
        if _ELEMENT.fullmatch(element):
            if element.strip():
                yield _node(element)
            end = start
        elif start < 0 or len(element) > _MAX_ELEMENT_SIZE:
            return


def _node(element: str) -> str:
    pairs = {key.lower(): text.strip() for key, text in _PAIR.findall(element)}
    node = pairs.get("for", "")
    return re.sub(r"\\(.)", r"\1", node[1:-1]) if node.startswith('"') else node


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address without the zone of a link-local one; IPv4 written as IPv6 becomes IPv4."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
