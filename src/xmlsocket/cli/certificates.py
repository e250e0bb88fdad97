"""The certificate of a server: read at the start, and again when it was renewed."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from ..errors import ConfigurationError
from .console import announce, printable

logger = logging.getLogger("xmlsocket.daemon")


def load_certificate(cert: str, key: str | None) -> ssl.SSLContext:
    """Make the TLS context of a server from its certificate chain and key.

    Raises:
        ConfigurationError: A file cannot be read, is not PEM, needs a password, or the two do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for file in (cert, key):
        if file is not None:
            try:
                Path(file).read_bytes()
            except OSError as error:
                raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error

    def refuse_password() -> str:
        raise ConfigurationError(f"the key in {key or cert} has a password; a daemon needs one without")

    try:
        context.load_cert_chain(cert, key, password=refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(f"the key in {key} does not belong to the certificate in {cert}") from error
        need = (
            f"{cert} must hold a certificate and {key} its key"
            if key
            else f"{cert} must hold a certificate and its key"
        )
        raise ConfigurationError(f"{need}, both as PEM; --tls-key names a file for the key") from error
    return context


def renew_certificate(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Read a certificate into a context that serves already. One that cannot be used is logged, and the old one stays.

    Connections that are open keep the certificate that they began with.
    """
    try:
        load_certificate(cert, key)  # on trial: half a change would spoil the context
        context.load_cert_chain(cert, key)
    except (ConfigurationError, OSError) as error:
        logger.error("the old certificate stays: %s", error)
    else:
        announce(f"read {printable(cert)} anew; connections that are open keep the old certificate")
