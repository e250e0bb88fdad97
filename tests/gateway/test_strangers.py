"""Strangers at a gateway's port: handshakes that never end, pages of other sites. The server behind hears of none."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.browser.studio import Studio
from tests.gateway.upstreams import browser, frames, gateway, messages, upstream
from tests.net.peers import peer_of, until

from xmlsocket.errors import CloseReason

COUNT = 1_000
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_a_thousand_handshakes_that_never_end_go_by_themselves_and_hinder_nobody(runner):
    async def main() -> None:
        async with upstream() as behind, contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(gateway(behind.target, handshake_timeout=2.0))
            for number in range(COUNT):
                peer = await stack.enter_async_context(peer_of(server))
                await peer.send(UPGRADE[: 5 + number % (len(UPGRADE) - 6)])
            async with browser(server) as client:
                await client.send(b"x\0")
                assert await frames(client, 1) == messages("x")
            await until(lambda: server.closed_by_reason[CloseReason.HANDSHAKE_TIMEOUT] == COUNT)
            assert len(behind.received) == 1

    runner(main())


def test_an_upgrade_may_come_byte_by_byte():
    async def main() -> None:
        async with upstream() as behind, gateway(behind.target) as server, peer_of(server) as peer:
            for at in range(len(UPGRADE)):
                await peer.send(UPGRADE[at : at + 1])
            assert (await peer.receive(12)).startswith(b"HTTP/1.1 101")

    asyncio.run(main())


@pytest.fixture(scope="module")
def studio():
    """A browser."""
    studio = Studio()
    studio.open()
    yield studio
    studio.close()


FORGE = """async address => {
  const text = "<say>forged</say>" + String.fromCharCode(0);
  const quiet = (promise) => promise.then(() => null, () => null);
  for (const method of ["POST", "PUT", "GET", "HEAD", "DELETE", "OPTIONS"])
    for (const type of ["text/plain", "application/xml"])
      await quiet(fetch(address + encodeURIComponent(text), {
        method, mode: type === "text/plain" && !/PUT|DELETE|OPTIONS/.test(method) ? "no-cors" : "cors",
        body: /GET|HEAD/.test(method) ? undefined : text, headers: {"content-type": type},
      }));
  navigator.sendBeacon(address, text);
  const form = document.createElement("form");
  form.action = address; form.method = "post"; form.enctype = "text/plain"; form.target = "frame";
  const field = document.createElement("textarea");
  field.name = text; field.value = text + "\\r\\n" + text;
  const frame = document.createElement("iframe");
  frame.name = "frame";
  form.append(field); document.body.append(frame, form);
  await new Promise((resolve) => { frame.onload = resolve; form.submit(); });
}"""


def test_what_a_page_of_another_site_posts_never_becomes_a_message(studio):
    async def scene() -> None:
        async with upstream() as behind, gateway(behind.target) as server, studio.page() as page:
            await page.goto(studio.site + "/player.html")
            await page.evaluate(FORGE, f"http://127.0.0.1:{server.port}/")
            await until(lambda: server.closed_by_reason[CloseReason.HTTP_ANSWERED] > 6)
            assert set(server.closed_by_reason) <= {CloseReason.HTTP_ANSWERED, CloseReason.PEER_CLOSED}
            assert behind.received == []
            assert server.server.traffic.messages_received == 0

    studio.run(scene())
