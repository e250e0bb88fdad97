"""What a server answers to who asks for its policy file: read, checked, ready to send."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

from ..errors import ConfigurationError, PolicyError
from ..policy import MASTER_PORT, Finding, LintContext, Policy, Severity, lint, make_printable
from ..policy.matching import FIRST_HIGH_PORT
from ..wire import NUL

logger = logging.getLogger("xmlsocket.policy")

_READ_SIZE: Final = 1_048_576  # far above what the linter lets pass
_MAX_SHOWN: Final = 8
_LEVELS: Final = {Severity.WARNING: logging.WARNING, Severity.NOTE: logging.INFO}


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """The answer to a policy request.

    Attributes:
        data: The bytes to send, the final NUL included.
        findings: What the linter has to say: warnings and notes, for with an error there is no answer.
    """

    data: bytes
    findings: tuple[Finding, ...] = ()


PolicySource: TypeAlias = "PolicyAnswer | Policy | bytes | str | os.PathLike[str]"
"""A policy that a server may be given: what :func:`load_policy` takes."""


def load_policy(
    policy: PolicySource, *, served_from: int | None = MASTER_PORT, allow_everybody: bool = False
) -> PolicyAnswer:
    """Read a policy and check it as ``xmlsocket policy lint`` does; warnings and notes are logged.

    ``serve`` and ``serve_policy`` do this with what they are given. Do it yourself, and pass them the result, where the
    port that players see is not the one that is listened on, as behind a port redirect.

    Args:
        policy: Text that begins with ``<``, bytes, the path of a file, or a policy that a program made. An answer is
            returned as it is.
        served_from: The port that players ask. It decides which ports the file may grant, and whether its meta-policy
            counts. 0 is any from 1024 on, and ``None`` not known.
        allow_everybody: It is meant that everybody may reach every port.

    Raises:
        ConfigurationError: The file cannot be read, or has an error; all errors are listed.
    """
    if isinstance(policy, PolicyAnswer):
        return policy
    name, document = _read(policy)
    document = document.rstrip(NUL)
    context = LintContext(
        serving_port=MASTER_PORT if served_from is None else served_from or FIRST_HIGH_PORT,
        allows_everybody=allow_everybody or served_from is None,
    )
    findings = lint(document, context)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise ConfigurationError(_explain(name, errors))
    if served_from is None:
        findings = ()  # what is risky depends on the port
    for finding in findings:
        logger.log(_LEVELS[finding.severity], "%s: %s", name, _describe(finding))
    return PolicyAnswer(document + NUL, findings)


def port_of(sock: socket.socket) -> int | None:
    """Tell the TCP port that a socket is bound to; ``None`` for sockets of other kinds."""
    return int(sock.getsockname()[1]) if sock.family in (socket.AF_INET, socket.AF_INET6) else None


def _read(policy: Policy | bytes | str | os.PathLike[str]) -> tuple[str, bytes]:
    """Get the name to call a policy by, and its bytes."""
    if isinstance(policy, Policy):
        try:
            return "the policy", policy.to_answer()
        except PolicyError as error:
            raise ConfigurationError(f"the policy cannot be written: {error}") from error
    if isinstance(policy, str) and policy.lstrip("\ufeff \t\r\n").startswith("<"):
        return "the policy", policy.encode(errors="surrogatepass")
    if isinstance(policy, bytes):
        return "the policy", policy
    name = make_printable(os.fspath(policy))
    try:
        with Path(policy).open("rb") as file:
            return name, file.read(_READ_SIZE)
    except (OSError, ValueError) as error:  # the latter comes of a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot read the policy file '{name}': {reason}") from error


def _explain(name: str, errors: list[Finding]) -> str:
    count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
    return f"{name} has {count}, so players would not do what it says: {_list(errors)}"


def _list(errors: Iterable[Finding]) -> str:
    described = [_describe(finding) for finding in errors]
    more = f"; and {len(described) - _MAX_SHOWN} more" if len(described) > _MAX_SHOWN else ""
    return "; ".join(described[:_MAX_SHOWN]) + more


def _describe(finding: Finding) -> str:
    place = "" if finding.line is None else f"line {finding.line}, column {finding.column}: "
    return f"{place}{finding.rule}: {finding.message}"
