"""Cases B1, B7 to B9, B13, B14, B18 and B21, and an ActionScript 3 program with its Python twin."""

from __future__ import annotations

import asyncio

import pytest
from tests.flash.scripted import Log, free_port, idle, scripted_server, silent_port, watch

from xmlsocket.flash import XML, XMLSocket
from xmlsocket.flash.errors import Error
from xmlsocket.policy import Requester, choose_host


def test_B1_a_conversation_in_all_its_texts(runner):
    lines = Log()

    async def main():
        messages = [b"Hello!\0", b"<root><item>Hello world!</item></root>\0", b"<root>Hello!</root>\0"]

        async def script(peer):
            for message in messages:
                await peer.receive(message)
                await peer.send(message)
            await peer.disconnect()

        xml_socket = XMLSocket()
        lines.append(xml_socket.timeout)
        xml_socket.timeout = 0
        lines.append(xml_socket.timeout)
        for call in (xml_socket.close, lambda: xml_socket.send("Hello!")):
            with pytest.raises(Error) as caught:
                call()
            lines.append(str(caught.value))

        def connected(event):
            lines.append("connected")
            xml_socket.send("Hello!")
            xml_socket.send(XML("<root><item>Hello world!</item></root>"))
            xml_socket.send(XML("<root>Hello!</root>"))

        xml_socket.addEventListener("connect", connected)
        xml_socket.addEventListener("data", lambda event: lines.append(str(event)))
        xml_socket.addEventListener("close", lambda event: lines.append("closed"))
        xml_socket.timeout = 20_000
        async with scripted_server(script) as port:
            xml_socket.connect("localhost", port)
            await idle()

    XML.prettyPrinting = False
    try:
        runner(main())
    finally:
        XML.setSettings()
    data = '[DataEvent type="data" bubbles=false cancelable=false eventPhase=2 data="{}"]'
    assert lines == [
        20_000,
        250,
        *["Error: Error #2002: Operation attempted on invalid socket."] * 2,
        "connected",
        data.format("Hello!"),
        data.format("<root><item>Hello world!</item></root>"),
        data.format("<root>Hello!</root>"),
        "closed",
    ]


def test_B7_what_is_sent_before_close_arrives_and_there_is_no_close_event(runner):
    async def main():
        log = Log()

        async def script(peer):
            await peer.receive(b"Hello!\0")
            await peer.wait_for_disconnect()

        async with scripted_server(script) as port:
            xml_socket = XMLSocket()
            log.append(xml_socket.connected)
            xml_socket.connect("127.0.0.1", port)
            log.append(xml_socket.connected)

            def connected(event):
                log.append(xml_socket.connected)
                xml_socket.send("Hello!")
                xml_socket.close()
                log.append(xml_socket.connected)

            xml_socket.addEventListener("connect", connected)
            xml_socket.addEventListener("close", log.append)
            await idle()
        assert log == [False, False, True, False]

    runner(main())


def test_B8_B9_a_server_that_only_closes(runner):
    async def main():
        log = Log()

        async def script(peer):
            await peer.disconnect()

        async with scripted_server(script) as port:
            xml_socket = watch(XMLSocket(), log)
            xml_socket.addEventListener("close", lambda event: log.append(xml_socket.connected))
            xml_socket.connect("127.0.0.1", port)
            await idle()
        assert log == ["connect", "close", False]

    runner(main())


@pytest.mark.parametrize(("host", "chosen"), [("1.2.3.4\0x", "1.2.3.4"), ("host\0", "host"), ("\0x", "own.example")])
def test_B13_a_host_is_cut_at_a_NUL(host, chosen):
    assert choose_host(host, Requester("own.example")) == chosen


def test_B14_timed_out_refused_closed_by_either_side_and_flushed(runner):
    async def main():
        log = Log()
        with silent_port() as port:
            slow = watch(XMLSocket(), log, "slow ")
            slow.timeout = 250
            slow.connect("127.0.0.1", port)
            await idle()
        watch(XMLSocket(), log, "refused ").connect("127.0.0.1", free_port())
        await idle()

        async def drop(peer):
            await peer.disconnect()

        async def read_all(peer):
            await peer.receive(b"x" * 1_000_000 + b"\0")
            await peer.wait_for_disconnect()

        async with scripted_server(drop) as one, scripted_server(read_all) as two:
            watch(XMLSocket(), log, "dropped ").connect("127.0.0.1", one)
            await log.has("dropped close")
            closing = watch(XMLSocket(), log, "closing ")
            closing.addEventListener("connect", lambda event: (closing.send("x" * 1_000_000), closing.close()))
            closing.connect("127.0.0.1", two)
            await idle()
        assert log == ["slow ioError", "refused ioError", "dropped connect", "dropped close", "closing connect"]

    runner(main())


def test_B18_connected_is_a_bool_and_the_class_has_adobes_members():
    assert XMLSocket().connected is False
    for name in (
        "connected", "timeout", "connect", "send", "close", "addEventListener", "dispatchEvent", "hasEventListener",
        "removeEventListener", "willTrigger", "toString",
    ):  # fmt: skip
        assert hasattr(XMLSocket, name)


def test_B21_text_goes_both_ways():
    async def main():
        log = Log()

        async def script(peer):
            await peer.send(b"PING\r\n\0")
            await peer.receive(b"PING\r\n\0")
            await peer.wait_for_disconnect()

        async with scripted_server(script) as port:
            xml_socket = watch(XMLSocket(), log)

            def answer(event):
                xml_socket.send(event.data)
                xml_socket.close()

            xml_socket.addEventListener("data", answer)
            xml_socket.connect("127.0.0.1", port)
            await idle()
        assert log == ["connect", "data PING\r\n"]

    asyncio.run(main())


def test_many_sockets_of_one_program_do_not_mix():
    async def main():
        log = Log()

        async def echo(peer):
            await peer.send(await peer.read_message() + b"\0")
            await peer.disconnect()

        async with scripted_server(echo) as port:
            for number in range(50):
                xml_socket = watch(XMLSocket(), log, f"{number} ")
                xml_socket.addEventListener(
                    "connect", lambda event, xml_socket=xml_socket, number=number: xml_socket.send(f"I am {number}")
                )
                xml_socket.connect("127.0.0.1", port)
            await idle()
        for number in range(50):
            own = [line for line in log if line.startswith(f"{number} ")]
            assert own == [f"{number} connect", f"{number} data I am {number}", f"{number} close"]

    asyncio.run(main())
