"""A credentials file of NATS: a JWT that says who we are, and the seed of the key that proves it.

Read here, since nats-py reads on for ever in a file that has no JWT.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]  # it has no types

from ...errors import ConfigurationError

_BLOCK = r"-----BEGIN {}-----\s+(\S+)\s+-+END "
_JWT = re.compile(_BLOCK.format("NATS USER JWT"))
_SEED = re.compile(_BLOCK.format("USER NKEY SEED"))


class Credentials:
    """Who we are, read from the file anew for each connection, so that a new file needs no restart.

    Args:
        path: The file.

    Raises:
        ConfigurationError: It cannot be read, or is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read()

    def for_client(self) -> dict[str, Any]:
        """What nats-py needs to know, as it takes it.

        Raises:
            ConfigurationError: The file cannot be read any more, or is none.
        """
        jwt, seed = self._read()

        def sign(nonce: str) -> bytes:
            return base64.b64encode(nkeys.from_seed(bytearray(seed)).sign(nonce.encode()))

        return {"user_jwt_cb": lambda: bytearray(jwt), "signature_cb": sign}

    def _read(self) -> tuple[bytes, bytes]:
        where = f"the credentials file {str(self._path)!r}"
        try:
            text = self._path.read_text("ascii")
        except OSError as error:
            raise ConfigurationError(f"{where} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{where} is none of NATS: it is not text") from error
        jwt, seed = _JWT.search(text), _SEED.search(text)
        if jwt is None or seed is None:
            missing = "a NATS USER JWT" if jwt is None else "a USER NKEY SEED"
            raise ConfigurationError(f"{where} is none of NATS: it has no block with {missing}")
        try:
            nkeys.from_seed(bytearray(seed[1], "ascii"))
        except Exception as error:  # nkeys has a tree of its own, and lets errors of base32 through
            raise ConfigurationError(f"{where} cannot be used: its seed is damaged") from error
        return jwt[1].encode("ascii"), seed[1].encode("ascii")
