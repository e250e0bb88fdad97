"""Whether a server lets browsers in, and how."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..limits import Limits
from ..wire import TextCodec
from ..wire.deflate import DeflateOptions
from .forwarding import Network
from .options import ServeSettings

if TYPE_CHECKING:
    from .websocket import Door

logger = logging.getLogger("xmlsocket.server")


def make_door(
    settings: ServeSettings, codec: TextCodec | None, limits: Limits, trusted: Sequence[Network]
) -> Door | None:
    """Make what lets browsers in; ``None`` where they are refused, by choice or as ``websockets`` is not installed."""
    if not settings.websocket or not settings.detect:
        return None
    if importlib.util.find_spec("websockets") is None:
        logger.info('browsers are refused: their handshake needs the package "websockets"')
        return None
    from ..wire.masking import COMPILED_MASK  # not at the top: websockets is an extra
    from .handshake import HandshakeOptions
    from .websocket import Door

    if not COMPILED_MASK:
        logger.warning("websockets has no compiled mask function here: WebSocket messages of 4 KiB cost twice the time")
    compression = settings.compression
    options = HandshakeOptions(
        allowed_origins=None if settings.allowed_origins is None else frozenset(settings.allowed_origins),
        deflate=DeflateOptions() if compression is True else compression or None,
        accepts=settings.websocket if callable(settings.websocket) else None,
        pages=settings.pages,
        max_size=limits.max_handshake_size,
    )
    return Door(options, codec, limits, trusted, is_raw=settings.raw)
