"""One look at an operations address: asked over HTTP, read into figures."""

from __future__ import annotations

import http.client
import importlib.util
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import ConfigurationError, OpenError
from ..operations import Sample
from .address import Address, parse_address
from .operations import DEFAULT_PORT

_TIMEOUT: Final = 5.0
_LONGEST: Final = 64 * 1024 * 1024  # bytes; a service of a hundred workers says a MiB or so
_URL: Final = re.compile(r"http://([^/?#]+).*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Look:
    """What an operations address said at one moment.

    Attributes:
        at: When, in seconds of the monotonic clock.
        is_ready: Whether clients may come.
        obstacles: Why not, a sentence each.
        samples: The metrics.
    """

    at: float
    is_ready: bool
    obstacles: tuple[str, ...]
    samples: tuple[Sample, ...] = field(repr=False)

    def matching(self, name: str, **labels: str) -> Iterator[Sample]:
        """Find the samples of a name that have these labels, whatever others they have."""
        for sample in self.samples:
            if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items()):
                yield sample

    def has(self, name: str) -> bool:
        """Whether there is any sample of a name."""
        return next(self.matching(name), None) is not None

    def total(self, name: str, **labels: str) -> float:
        """Add up the samples of a name, those of all workers."""
        return sum(sample.value for sample in self.matching(name, **labels))

    def largest(self, name: str, **labels: str) -> float:
        """The largest sample of a name; 0 if there is none."""
        return max((sample.value for sample in self.matching(name, **labels)), default=0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Add up the samples of a name for each value of a label, in the order in which they stand."""
        found: dict[str, float] = {}
        for sample in self.matching(name):
            value = sample.labels.get(label, "")
            found[value] = found.get(value, 0.0) + sample.value
        return found


def parse_watched(text: str | None) -> Address:
    """Read where to look: ``HOST:PORT``, ``HOST``, ``PORT`` or the URL of a page there.

    Raises:
        ConfigurationError: It is none of them.
    """
    if importlib.util.find_spec("prometheus_client") is None:
        raise ConfigurationError('top needs the package prometheus-client: pip install "xmlsocket[daemon]"')
    text = (text or "").strip()
    if match := _URL.fullmatch(text):
        text = match[1]
    if not text or text.isdigit():
        text = f"localhost:{text or DEFAULT_PORT}"
    address = parse_address(text, DEFAULT_PORT)
    if address.path is not None:
        raise ConfigurationError(f"an operations address is HOST:PORT, not {text!r}")
    return address


def look(address: Address) -> Look:
    """Ask for metrics and readiness.

    Raises:
        OpenError: Nobody answers, or somebody else does; the sentence says what to do.
    """
    status, body = _get(address, "/metrics")
    if status == http.client.NOT_IMPLEMENTED:
        raise OpenError(f"the daemon at {address} has no metrics: {body.strip()}")
    if status != http.client.OK or "xmlsocket_build_info" not in body:
        raise OpenError(
            f"{address} answers, but is no operations address of xmlsocket (HTTP {status} for /metrics). It has a port "
            f"of its own, {DEFAULT_PORT} unless --operations says otherwise"
        )
    ready, sentences = _get(address, "/readyz")
    obstacles = tuple(
        line.removeprefix("not ready: ") for line in sentences.splitlines() if line.startswith("not ready: ")
    )
    return Look(time.monotonic(), ready == http.client.OK, obstacles, tuple(_parse(body, address)))


def _get(address: Address, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address.host or "", address.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(_LONGEST).decode("utf-8", "replace")
    except ConnectionRefusedError as error:
        raise OpenError(
            f"nothing listens at {address}; is the daemon running? xmlsocket serve shows its figures at "
            f"localhost:{DEFAULT_PORT} or where its --operations says"
        ) from error
    except TimeoutError as error:
        raise OpenError(f"{address} does not answer within {_TIMEOUT:g} s") from error
    except http.client.HTTPException as error:
        raise OpenError(
            f"{address} does not speak HTTP: {type(error).__name__}. The operations address has a port of its own"
        ) from error
    except OSError as error:
        raise OpenError(f"cannot reach {address}: {error.strerror or error}") from error
    finally:
        connection.close()


def _parse(body: str, address: Address) -> Iterator[Sample]:
    from prometheus_client.parser import text_string_to_metric_families  # not at the top: it is an extra

    families: Any = text_string_to_metric_families
    try:
        for family in families(body):
            for sample in family.samples:
                yield Sample(sample.name, sample.value, sample.labels)
    except ValueError as error:
        raise OpenError(f"the metrics at {address} cannot be read: {error}") from error
