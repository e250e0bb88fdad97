"""Bytes to messages and back, as plain functions and small classes.

Knows: framing at NUL, text encodings, markup, WebSocket frames, and how the first bytes tell the protocol.
Does not know: sockets, clocks, tasks, logging, rooms or policies.
May import: errors, limits. Start reading at ``framing.py``.
"""

from __future__ import annotations

from .batch import Batch, Encoder
from .detection import DETECTION_SIZE, POLICY_REQUESTS, Protocol, detect
from .framing import MessageDecoder, MessageEncoder, MessageT, check_whole
from .markup import Markup, to_text
from .text import NUL, ErrorRule, TextCodec, decode_like_flash, text_codec

__all__ = [
    "DETECTION_SIZE",
    "NUL",
    "POLICY_REQUESTS",
    "Batch",
    "Encoder",
    "ErrorRule",
    "Markup",
    "MessageDecoder",
    "MessageEncoder",
    "MessageT",
    "Protocol",
    "TextCodec",
    "check_whole",
    "decode_like_flash",
    "detect",
    "text_codec",
    "to_text",
]
