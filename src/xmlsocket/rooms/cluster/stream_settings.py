"""The stream of the kept rooms: how it has to be, and making it so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from ...errors import BrokerError, BrokerUnavailableError
from ...limits import HistoryLimits
from .jetstream import JetStream, JetStreamError, StreamNotFoundError
from .session import Session

logger = logging.getLogger("xmlsocket.cluster")

OLDEST_SERVER: Final = (2, 9, 0)
_NANOSECONDS: Final = 1_000_000_000
_SUBJECTS_OVERLAP: Final = 10065
_NO_ROOM: Final = (10028, 10047)
_NOT_POSSIBLE: Final = (10052, 10058, _SUBJECTS_OVERLAP, *_NO_ROOM, 10074, 10003)


def kept_stream_settings(prefix: str, limits: HistoryLimits, replicas: int) -> dict[str, object]:
    """The stream as JetStream's API writes it.

    The server publishes again what it has stored, and nodes listen to that. A consumer for each room and node would
    promise the same and cost the server a timer and heartbeats each, thousands of them.
    """
    age = limits.max_kept_age
    # It has to be below the age. Nothing here relies on it: an expected sequence cannot come true twice.
    window = 120.0 if age is None else min(120.0, max(age, 0.1))
    return {
        "name": f"{prefix}_kept",
        "subjects": [f"{prefix}.kept.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        # Batches, each of one message or more: so it never takes one of the latest messages that are to be kept.
        "max_msgs_per_subject": _or_unlimited(limits.max_kept_messages),
        "max_msgs": -1,
        "max_bytes": _or_unlimited(limits.max_history_file_size),
        "max_age": 0 if age is None else int(max(age, 0.1) * _NANOSECONDS),
        "num_replicas": replicas,
        "duplicate_window": int(window * _NANOSECONDS),
        "allow_direct": True,
        "republish": {"src": f"{prefix}.kept.>", "dest": f"{prefix}.shown.>"},
    }


def _or_unlimited(value: int | None) -> int:
    return -1 if value is None else max(value, 1)


async def prepare_stream(session: Session, jetstream: JetStream, settings: Mapping[str, object]) -> None:
    """Make the stream, or change one that differs; what it was is logged.

    Raises:
        BrokerError: It cannot be, whoever tries again: the server is too old, or has no JetStream, no room, or another
            stream in its place.
        BrokerUnavailableError: Not now; try again.
    """
    version = session.server_version
    if version is not None and version < OLDEST_SERVER:
        raise BrokerError(
            f"kept rooms need NATS {'.'.join(map(str, OLDEST_SERVER))} or newer, and this is "
            f"{'.'.join(map(str, version))}: update it, or run without history"
        )
    name = settings["name"]
    try:
        try:
            found = (await jetstream.ask(f"STREAM.INFO.{name}"))["config"]
        except StreamNotFoundError:
            found = (await jetstream.ask(f"STREAM.CREATE.{name}", settings))["config"]
        changes = differences(found, settings)
        if changes:
            logger.warning("the stream %s of NATS has other settings and is changed: %s", name, "; ".join(changes))
            await jetstream.ask(f"STREAM.UPDATE.{name}", {**found, **settings})
    except JetStreamError as error:
        raise _explain(error, str(name), settings) from error


def differences(found: Mapping[str, Any], wanted: Mapping[str, object]) -> list[str]:
    """What is not as wanted, a phrase each. Settings that are not asked for may be anything."""
    return [f"{key} is {found.get(key)!r}, not {value!r}" for key, value in wanted.items() if found.get(key) != value]


def _explain(error: JetStreamError, name: str, settings: Mapping[str, object]) -> BrokerError:
    if error.code == 0:
        return BrokerUnavailableError(str(error))
    if error.code in _NO_ROOM and settings["max_bytes"] != -1:
        return BrokerError(
            f"NATS has no room for the history: {settings['max_bytes']} bytes (max_history_file_size) on "
            f"{settings['num_replicas']} server(s): {error}; lower that, or raise max_file_store of the server"
        )
    if error.code == _SUBJECTS_OVERLAP:
        return BrokerError(f"another stream of NATS has the subjects {settings['subjects']}: {error}; use other names")
    if error.code in _NOT_POSSIBLE:
        return BrokerError(
            f"the stream {name} of NATS cannot be as it has to be: {error}; change it with NATS's own tools, or use "
            "another prefix"
        )
    return BrokerUnavailableError(f"NATS cannot keep messages now: {error}")
