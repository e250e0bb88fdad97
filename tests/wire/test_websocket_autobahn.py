"""The Autobahn cases, driven by kosoku, against handshake and codec alone: a server that echoes whole messages.

Section 9 (large messages) and most of the 216 cases of compression are left out for their time.
"""

from __future__ import annotations

import asyncio

import pytest

from xmlsocket.net.handshake import Answer, Handshake, HandshakeOptions
from xmlsocket.wire.deflate import DeflateOptions, Deflater, Inflater
from xmlsocket.wire.frames import encode_binary, encode_close, encode_pong, encode_text
from xmlsocket.wire.websocket import Close, FrameDecoder, Ping, Pong, Received

kosoku = pytest.importorskip("kosoku", reason="kosoku drives the Autobahn cases")

LIMIT = 16 * 1024 * 1024


class EchoProtocol(asyncio.Protocol):
    """As little server as the cases need."""

    def __init__(self, options: HandshakeOptions, *, portable: bool) -> None:
        self.handshake: Handshake | None = Handshake(options)
        self.portable = portable
        self.decoder = FrameDecoder(LIMIT, whole_messages=True, portable=portable)
        self.deflater: Deflater | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.handshake is not None:
            outcome = self.handshake.feed(data)
            if outcome is None:
                return
            self.handshake = None
            self.transport.write(outcome.response)
            if isinstance(outcome, Answer):
                self.transport.close()
                return
            agreed = outcome.deflate
            if agreed is not None:
                self.deflater = Deflater(
                    agreed.server_max_window_bits, no_context_takeover=agreed.server_no_context_takeover
                )
                inflater = Inflater(
                    agreed.client_max_window_bits, no_context_takeover=agreed.client_no_context_takeover
                )
                self.decoder = FrameDecoder(LIMIT, whole_messages=True, inflater=inflater, portable=self.portable)
            data = outcome.rest
        items = self.decoder.feed(data)
        while self.decoder.has_more:
            items += self.decoder.feed(b"")
        for item in items:
            self.echo(item)
        if self.decoder.error is not None:
            self.transport.write(encode_close(self.decoder.error.close_code))
            self.transport.close()

    def echo(self, item: Received) -> None:
        if isinstance(item, bytes):
            self.transport.write(encode_binary([item], deflater=self.deflater))
        elif isinstance(item, str):
            self.transport.write(encode_text([item.encode()], deflater=self.deflater))
        elif isinstance(item, Ping):
            self.transport.write(encode_pong(item.payload))
        elif isinstance(item, Close):
            self.transport.write(encode_close(item.code))
            self.transport.close()
        else:
            assert isinstance(item, Pong)


def run_cases(cases: list[str], options: HandshakeOptions, *, portable: bool = False) -> list[str]:
    """Run cases; return those that did not pass."""

    async def run() -> list[str]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: EchoProtocol(options, portable=portable), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            try:
                results = await kosoku.run_fuzzingclient(f"ws://127.0.0.1:{port}", cases, concurrency=16)
            except kosoku.FailureError as failure:
                results = failure.results
        assert results
        return [f"{result.case_id}: {result.result}" for result in results if not result.passed]

    return asyncio.run(run())


@pytest.mark.parametrize("section", ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"])
def test_the_core_cases_pass(section: str) -> None:
    assert run_cases([section], HandshakeOptions()) == []


def test_the_core_cases_pass_without_the_compiled_mask() -> None:
    assert run_cases(["1.1.*", "5.*"], HandshakeOptions(), portable=True) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # kosoku leaves its data files open
@pytest.mark.parametrize("takeover", [False, True])
def test_the_cases_of_compression_pass(takeover: bool) -> None:
    deflate = DeflateOptions(
        server_no_context_takeover=not takeover, client_no_context_takeover=not takeover, server_max_window_bits=15
    )
    cases = ["12.1.1", "12.2.3", "13.1.1", "13.3.3", "13.5.5", "13.7.7"]
    assert run_cases(cases, HandshakeOptions(deflate=deflate)) == []
