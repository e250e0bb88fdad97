"""What the doctor looks at: each check asks a real server one question and says what the answer means to whom."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus, NegotiationError, WebSocketException

from ..errors import ConfigurationError
from ..gateway.ruffle_config import read_entries
from ..limits import PolicyLimits
from ..net.policy_client import PolicyClient
from ..net.policy_exchange import Exchange, resolve
from ..policy import MASTER_PORT, LintContext, Location, Requester, Severity, format_host, lint, parse_host
from ..policy.answers import Ending, Outcome, Reply, read_reply
from .doctor_findings import Finding, Patient, Status

_SLOW: Final = 1.0
_IN_WORDS: Final = {
    Outcome.REFUSED: "it refuses the connection",
    Outcome.CLOSED_EMPTY: "it closes the connection without a word",
}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


async def examine(patient: Patient) -> AsyncIterator[Finding]:
    """Look at everything, and give each finding when it is there."""
    for finding in check_names(patient):
        yield finding
    address = None
    async for finding, reached in _check_tcp(patient):
        address = address or reached
        yield finding
    if address is None:
        return
    yield await _check_greeting(patient, address)
    async for finding in _check_policies(patient, address):
        yield finding
    async for finding in _check_websockets(patient):
        yield finding


# Names


def check_names(patient: Patient) -> list[Finding]:
    """Compare what the movie says with the configuration of Ruffle."""
    said = patient.said_host
    why = "Ruffle compares host and port letter for letter; without an entry it gives the movie an ioError"
    if patient.config is not None:
        entries = read_entries(patient.config)
        if any(entry.host == said and entry.port == patient.port for entry in entries):
            return [Finding("socketProxy", Status.OK, f"there is an entry for {said}:{patient.port}")]
        listed = ", ".join(f"{entry.host}:{entry.port}" for entry in entries) or "none"
        fix = f"xmlsocket ruffle config --target {said}:{patient.port} --public-url ... --into FILE"
        what = f"there is no entry for {said}:{patient.port}; there are: {listed}"
        return [Finding("socketProxy", Status.ERROR, what, why, fix)]
    if said != patient.host:
        fix = f"give the entry the host {said!r}, or both: --movie-host of xmlsocket ruffle config"
        what = f"the movie says {said!r}, which is not {patient.host!r}"
        return [Finding("socketProxy", Status.WARNING, what, why, fix)]
    return []


# TCP


async def _check_tcp(patient: Patient) -> AsyncIterator[tuple[Finding, str | None]]:
    try:
        addresses = await resolve(patient.host, patient.timeout)
    except OSError as error:
        what = f"{patient.host}: {error}"
        yield Finding("tcp", Status.ERROR, what, "no client can connect", "check the name, or use an address"), None
        return
    for address in addresses:
        where = f"{format_host(parse_host(address))}:{patient.port}"
        try:
            began = time.monotonic()
            async with asyncio.timeout(patient.timeout):
                _, writer = await asyncio.open_connection(address, patient.port)
            writer.transport.abort()
            yield Finding("tcp", Status.OK, f"{where} accepts in {(time.monotonic() - began) * 1000:.0f} ms"), address
        except TimeoutError:
            what = f"{where} neither accepts nor refuses within {patient.timeout:g} s"
            fix = "open the port in the firewall, or forward it"
            yield Finding("tcp", Status.ERROR, what, "players wait 20 s and then give up", fix), None
        except OSError as error:
            reason = "refuses the connection" if isinstance(error, ConnectionRefusedError) else error.strerror or error
            status = Status.ERROR if len(addresses) == 1 else Status.WARNING
            why = "no client can connect" if len(addresses) == 1 else "clients that try this address first are delayed"
            fix = "start the server, and let it listen on this address"
            yield Finding("tcp", status, f"{where} {reason}", why, fix), None


async def _check_greeting(patient: Patient, address: str) -> Finding:
    try:
        async with asyncio.timeout(patient.timeout):
            reader, writer = await asyncio.open_connection(address, patient.port)
    except OSError as error:
        return Finding("greeting", Status.WARNING, f"a second connection failed: {error}", "there may be a limit")
    try:
        async with asyncio.timeout(patient.patience):
            data = await reader.read(65_536)
    except TimeoutError:
        return Finding("greeting", Status.OK, "the server waits for its clients to speak first")
    except OSError:
        data = b""
    finally:
        writer.transport.abort()
    if not data:
        what = "the server closes the connection before anything is said"
        why = "clients get connect and then close"
        return Finding("greeting", Status.ERROR, what, why, "look at the server's log; is this address banned?")
    what = f"the server speaks first: {data[:40]!r}"
    why = "a port that tells protocols by the client's first bytes makes silent clients wait for detection_timeout"
    return Finding("greeting", Status.NOTE, what, why)


# Policies


async def _check_policies(patient: Patient, address: str) -> AsyncIterator[Finding]:
    for port, name in ((patient.master_port, "policy-843"), (patient.port, "policy-inline")):
        yield await _check_policy(patient, address, port, name)
    if patient.page is None:
        return
    requester = Requester.from_url(patient.page)

    async def dial(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(host, patient.master_port if port == MASTER_PORT else port)

    decision = await PolicyClient(dial=dial).decide(requester, patient.host, patient.port)
    who = f"a movie from {requester}"
    if decision.allowed:
        yield Finding("policy", Status.OK, f"Flash Player lets {who} connect: {decision.rule.value}")
    else:
        what = f"Flash Player does not let {who} connect: {decision.rule.value}"
        fix = f"xmlsocket policy make --domain {requester} --to-ports {patient.port}, and serve it here and on 843"
        yield Finding("policy", Status.ERROR, what, "native players give a securityError; Ruffle asks nobody", fix)


async def _check_policy(patient: Patient, address: str, port: int, name: str) -> Finding:
    location = Location(parse_host(patient.host), MASTER_PORT if name == "policy-843" else port)
    limits = PolicyLimits()
    exchange = Exchange(
        location, address, port, dial=asyncio.open_connection, connect_timeout=None, max_size=limits.max_policy_size
    )
    began = time.monotonic()
    try:
        async with asyncio.timeout(patient.timeout):
            reply = await exchange.run()
    except TimeoutError:
        reply = exchange.time_out()
    elapsed = time.monotonic() - began
    return _judge_policy(patient, name, location.port, reply, elapsed, is_open=exchange.is_open)


def _judge_policy(patient: Patient, name: str, port: int, reply: Reply, elapsed: float, *, is_open: bool) -> Finding:
    fetched = read_reply(reply, PolicyLimits())
    is_master = name == "policy-843"
    where = "port 843" if is_master else f"port {port}"
    fix = "xmlsocket serve --policy FILE, or xmlsocket gateway --policy FILE, answers on the port itself"
    if fetched.outcome is Outcome.OK:
        context = LintContext(serving_port=port, service_ports=frozenset({patient.port}))
        faults = [fault for fault in lint(reply.data.rstrip(b"\0"), context) if fault.severity is Severity.ERROR]
        if faults:
            return Finding(name, Status.ERROR, f"{where}: {faults[0].message}", "native players do not do what it says")
        if elapsed > _SLOW:
            why = f"Flash Player waits {PolicyLimits().policy_timeout:g} s for it, and the network adds to that"
            return Finding(name, Status.WARNING, f"{where} answered only after {elapsed:.1f} s", why, "answer at once")
        if reply.ending is Ending.CLOSED:
            what = f"{where} sends a policy without the NUL that ends it"
            return Finding(name, Status.WARNING, what, "some players wait for it in vain", "end the answer with a NUL")
        return Finding(name, Status.OK, f"{where} answers with a policy in {elapsed * 1000:.0f} ms")
    if fetched.outcome in (Outcome.MALFORMED, Outcome.TOO_BIG):
        what = f"{where} answers a policy request with something else: {fetched.detail or reply.data[:60]!r}"
        return Finding(name, Status.ERROR, what, "native players count that as no policy", fix)
    if fetched.outcome is Outcome.TIMEOUT and not is_open:
        what = f"{where} neither accepts nor refuses, as behind a firewall that drops packets"
        why = f"native players lose {patient.timeout:g} s on each first connection before they ask the port itself"
        return Finding(name, Status.WARNING, what, why, "let the firewall refuse (reject) instead of drop")
    if is_master and fetched.outcome is Outcome.REFUSED:
        return Finding(name, Status.OK, "nothing listens on port 843, so players ask the port itself at once")
    how = fetched.detail or _IN_WORDS.get(fetched.outcome, fetched.outcome.value)
    what = f"{where} does not answer policy requests: {how}"
    why = "Flash Player, AIR in a browser and projectors cannot connect without; Ruffle and OpenFL never ask"
    return Finding(name, Status.WARNING, what, why, fix)


# WebSocket


async def _check_websockets(patient: Patient) -> AsyncIterator[Finding]:
    shown = f"[{patient.host}]" if ":" in patient.host else patient.host
    known = patient.known_websocket
    urls = [known] if known else [f"{kind}://{shown}:{patient.port}/" for kind in ("ws", "wss")]
    working = []
    for url in urls:
        findings, is_open = await _check_websocket(patient, url)
        if is_open:
            working.append(url)
        for finding in findings:
            yield finding
    if patient.scheme == "https" and not any(_may_be_opened(url) for url in working):
        what = "the page is loaded by https, and there is no wss address that works"
        why = "browsers forbid ws:// on such a page (mixed content), so Ruffle and OpenFL cannot connect"
        fix = "give the gateway a certificate (--tls-cert), or put a reverse proxy with one in front"
        yield Finding("mixed-content", Status.ERROR, what, why, fix)
    elif not working:
        what = "no WebSocket is to be had"
        why = "Ruffle and OpenFL in a browser cannot connect: they get connect, and then close"
        fix = f"xmlsocket gateway --target {shown}:{patient.port}"
        yield Finding("browsers", Status.ERROR if patient.page else Status.WARNING, what, why, fix)


def _may_be_opened(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "wss" or parts.hostname in _LOOPBACK


async def _check_websocket(patient: Patient, url: str) -> tuple[list[Finding], bool]:
    """Open one address, and talk over it. Returns the findings, and whether a browser can open it."""
    name = urlsplit(url).scheme
    is_expected = patient.known_websocket is not None
    quiet = Status.ERROR if is_expected else Status.NOTE
    try:
        async with open_websocket(
            url,
            origin=patient.origin,
            compression=None,
            open_timeout=patient.timeout,
            ping_interval=None,
            max_size=None,
        ) as client:
            asked = f" from pages of {patient.origin}" if patient.origin else ""
            opened = Finding(name, Status.OK, f"{url} opens a WebSocket{asked}")
            return [opened, await _check_frames(patient, url, client)], True
    except InvalidStatus as error:
        return [_explain_status(patient, url, name, error.response.status_code)], False
    except NegotiationError:
        what = f"{url} agrees to a subprotocol that nobody offered"
        fix = "answer Sec-WebSocket-Protocol only where the client sends it"
        return [Finding(name, Status.ERROR, what, "browsers fail the connection, and Ruffle offers none", fix)], False
    except ssl.SSLCertVerificationError as error:
        what = f"the certificate of {url} is not to be trusted: {error.verify_message}"
        fix = "get one for this name from an authority that browsers know"
        return [Finding(name, Status.ERROR, what, "browsers fail the connection without asking", fix)], False
    except ssl.SSLError:
        return [Finding(name, quiet, f"{url}: no TLS there", "pages loaded by https need it")], False
    except (WebSocketException, OSError, EOFError, ValueError, TimeoutError) as error:
        what = f"{url} opens no WebSocket: {error or type(error).__name__}"
        return [Finding(name, quiet, what, "browsers have no other way to connect")], False


def _explain_status(patient: Patient, url: str, name: str, status: int) -> Finding:
    what = f"{url} answers {status}"
    if status == 403 and patient.origin:
        fix = f"xmlsocket gateway --allowed-origin {patient.origin}"
        return Finding(name, Status.ERROR, f"{what} to pages of {patient.origin}", "browsers there are refused", fix)
    if status == 404:
        why = "a gateway with several targets chooses by the path"
        return Finding(name, Status.ERROR, what, why, "use the path /NAME or /HOST:PORT of the target")
    return Finding(name, Status.ERROR, f"{what} instead of a WebSocket", "browsers cannot connect")


async def _check_frames(patient: Patient, url: str, client: object) -> Finding:
    frames: list[str | bytes] = []
    try:
        await client.send(patient.message.encode() + b"\0")  # type: ignore[attr-defined]  # a ClientConnection
        async with asyncio.timeout(patient.patience):
            while len(frames) < 16:
                frames.append(await client.recv())  # type: ignore[attr-defined]  # a ClientConnection
    except TimeoutError:
        pass  # that was all
    except ConnectionClosed as error:
        if not frames:
            code = error.rcvd.code if error.rcvd else None
            reason = f", {error.rcvd.reason}" if error.rcvd and error.rcvd.reason else ""
            what = f"{url} was closed when a message was sent (code {code}{reason})"
            return Finding("frames", Status.ERROR, what, "the movie gets close", "is the server behind it running?")
    return judge_frames(patient.message, frames)


def judge_frames(message: str, frames: list[str | bytes]) -> Finding:
    """Say whether every client can read these frames."""
    if not frames:
        what = f"nothing was answered to {message!r}"
        return Finding("frames", Status.NOTE, what, "", "name a message that the server answers: --message")
    if any(isinstance(frame, str) for frame in frames):
        fix = "send binary frames, or use xmlsocket gateway"
        return Finding("frames", Status.ERROR, "the server sends text frames", "Ruffle drops them", fix)
    odd = [frame for frame in frames if isinstance(frame, bytes) and (frame.count(0) != 1 or frame[-1])]
    if odd:
        what = f"{len(odd)} of {len(frames)} frames do not hold exactly one whole message, such as {odd[0][:40]!r}"
        why = "OpenFL loses or cuts messages, and Ruffle before 2026 lost those that were cut"
        return Finding("frames", Status.ERROR, what, why, "use xmlsocket gateway, which re-frames at NULs")
    count = "one binary frame" if len(frames) == 1 else f"{len(frames)} binary frames"
    return Finding("frames", Status.OK, f"{count} came back, each with one whole message")


def check_page(page: str) -> None:
    """Refuse what is no URL of a page or movie.

    Raises:
        ConfigurationError: It is none.
    """
    Requester.from_url(page)
    if urlsplit(page).scheme.lower() not in ("http", "https", "file", "app"):
        raise ConfigurationError(f"--page is the URL of a page, such as https://example.org/game.html, not {page!r}")
