"""Rows V1 to V10, S8 and cases B2 to B6, B15, B16, B19: the XMLSocket of ActionScript 1 and 2."""

from __future__ import annotations

import asyncio

import pytest
from tests.flash.scripted import Log, free_port, idle, scripted_server, silent_port

from xmlsocket.flash import XML as XML3
from xmlsocket.flash import Content, avm1, setUncaughtErrorHandler


def traced(log, *, text=False):
    """A socket whose functions write into a log; ``text`` replaces onData."""
    xml_socket = avm1.XMLSocket()
    xml_socket.onConnect = lambda success: log.append(f"connected {success}")
    xml_socket.onXML = lambda doc: log.append(f"xml {doc}")
    xml_socket.onClose = lambda: log.append("closed")
    if text:
        xml_socket.onData = lambda src: log.append(f"data {src}")
    return xml_socket


async def converse(script, xml_socket):
    async with scripted_server(script) as port:
        assert xml_socket.connect("127.0.0.1", port) is True
        await idle()


def test_V1_B20_the_class_has_these_members_and_no_others():
    xml_socket = avm1.XMLSocket()
    public = {name for name in dir(xml_socket) if not name.startswith("_")}
    assert public == {"connect", "send", "close", "onData", "getTimeout", "setTimeout"}
    assert vars(avm1.XMLSocket).keys() >= public


@pytest.mark.parametrize("port", [65_536, -1, 1_090_929_898])
def test_V2_connect_is_false_for_a_port_that_does_not_exist_and_nothing_is_called(port):
    async def main():
        log = []
        xml_socket = traced(log)
        for _ in range(2):
            assert xml_socket.connect("madeuphost", port) is False
        await idle()
        assert log == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "content",
    [Content("file:///movie.swf"), Content("http://a.example/movie.swf", allowNetworking="none")],
    ids=repr,
)
def test_V2_connect_is_false_in_a_sandbox_without_sockets(content):
    with content:
        assert traced([]).connect("localhost", 8080) is False


def test_V2_any_failure_is_onConnect_false():
    async def main():
        log = []
        xml_socket = traced(log)
        xml_socket.setTimeout(0)
        with silent_port() as port:
            assert xml_socket.connect("127.0.0.1", port) is True
            await idle()
        xml_socket.setTimeout(20_000)
        for host in ("127.0.0.1", "does-not-exist.invalid"):
            assert xml_socket.connect(host, free_port()) is True
            await idle()
        assert log == ["connected False"] * 3

    asyncio.run(main())


def test_V3_the_default_onData_parses_and_calls_onXML_with_text_as_a_text_node(runner):
    documents = []

    async def main():
        async def script(peer):
            await peer.send(b"Hello!\0<a b='1'>x</a>\0<broken\0")
            await peer.disconnect()

        xml_socket = avm1.XMLSocket()
        xml_socket.onXML = documents.append
        await converse(script, xml_socket)

    runner(main())
    text, element, broken = documents
    assert (text.firstChild.nodeType, text.firstChild.nodeValue) == (3, "Hello!")
    assert (element.firstChild.nodeName, element.firstChild.attributes) == ("a", {"b": "1"})
    assert (broken.status, broken.childNodes) == (-6, [])


def test_V3_without_onXML_a_message_is_just_gone():
    async def main():
        async def script(peer):
            await peer.send(b"Hello!\0")
            await peer.disconnect()

        await converse(script, avm1.XMLSocket())

    asyncio.run(main())


def test_V4_S8_close_and_send_without_a_connection_do_nothing():
    xml_socket = avm1.XMLSocket()
    for _ in range(2):
        assert xml_socket.close() is None
        assert xml_socket.send("x") is None
        assert xml_socket.send(None) is None


def test_V5_onClose_is_called_without_arguments_and_only_if_the_server_closes():
    async def main():
        log = Log()

        async def hang_up(peer):
            await peer.disconnect()

        await converse(hang_up, traced(log))
        assert log == ["connected True", "closed"]

        async def wait(peer):
            await peer.wait_for_disconnect()

        log.clear()
        xml_socket = traced(log)
        async with scripted_server(wait) as port:
            xml_socket.connect("127.0.0.1", port)
            await log.has("connected True")
            xml_socket.close()
            await idle()
        assert log == ["connected True"]

    asyncio.run(main())


def test_V5_a_lost_connection_is_onClose():
    async def main():
        log = Log()

        async def script(peer):
            await peer.receive(b"go\0")
            peer.reset()

        xml_socket = traced(log)
        xml_socket.onConnect = lambda success: xml_socket.send("go")
        await converse(script, xml_socket)
        assert log == ["closed"]

    asyncio.run(main())


def test_V6_functions_are_looked_up_when_they_are_called():
    async def main():
        log = Log()

        async def script(peer):
            await peer.send(b"one\0two\0")
            await peer.disconnect()

        xml_socket = traced(log)

        def first(src):
            log.append(f"first {src}")
            xml_socket.onData = lambda src: log.append(f"second {src}")
            xml_socket.onClose = None

        xml_socket.onData = first
        await converse(script, xml_socket)
        assert log == ["connected True", "first one", "second two"]

    asyncio.run(main())


def test_V6_a_subclass_may_define_them_and_has_its_own_properties_there():
    class Chat(avm1.XMLSocket):
        def __init__(self):
            self.secret = 13
            self.log = Log()

        def onConnect(self, success):
            self.log.append((success, self.secret))

        def onData(self, src):
            self.log.append((src, self.secret))

    async def main():
        async def script(peer):
            await peer.send(b"x\0")
            await peer.disconnect()

        chat = Chat()
        await converse(script, chat)
        assert chat.log == [(True, 13), ("x", 13)]

    asyncio.run(main())


def test_V8_the_timeout_has_no_floor():
    xml_socket = avm1.XMLSocket()
    assert xml_socket.getTimeout() == 20_000
    xml_socket.setTimeout(100)
    assert xml_socket.getTimeout() == 100
    xml_socket.setTimeout(-5)
    assert xml_socket.getTimeout() == 0


def test_V8_V10_a_BOM_is_kept_and_invalid_bytes_are_not_skipped():
    async def main():
        log = Log()

        async def script(peer):
            await peer.send(b"\xef\xbb\xbfText\0\xff\0leftover")
            await peer.disconnect()

        await converse(script, traced(log, text=True))
        assert log == ["connected True", "data \ufeffText", "data \xff", "closed"]

    asyncio.run(main())


def test_a_function_that_raises_is_reported_and_the_next_is_called():
    async def main():
        log, caught = Log(), []
        previous = setUncaughtErrorHandler(lambda error, event: caught.append(str(error)))

        async def script(peer):
            await peer.send(b"one\0two\0")
            await peer.disconnect()

        def fail(src):
            raise ValueError(src)

        xml_socket = traced(log)
        xml_socket.onData = fail
        try:
            await converse(script, xml_socket)
        finally:
            setUncaughtErrorHandler(previous)
        assert (log, caught) == (["connected True", "closed"], ["one", "two"])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("Hello!", b"Hello!\0"),
        (avm1.XML("<root><item></item></root>"), b"<root><item /></root>\0"),
        (XML3("<root/>"), b"<root/>\0"),
        (None, b"undefined\0"),
        (9, b"9\0"),
        (0.1 + 0.2, b"0.3\0"),
        (1e15, b"1e+15\0"),
        (0.00001, b"0.00001\0"),
        (0.999e-5, b"9.99e-6\0"),
        (-999990000000000.0, b"-999990000000000\0"),
        (True, b"true\0"),
        ([1, 0.1 + 0.2, None], b"1,0.3,\0"),
        ("", b"\0"),
    ],
)
def test_send_writes_values_as_actionscript_2_does(value, sent):
    async def main():
        async def script(peer):
            await peer.receive(sent)
            await peer.wait_for_disconnect()

        xml_socket = avm1.XMLSocket()

        def send(success):
            xml_socket.send(value)
            xml_socket.close()

        xml_socket.onConnect = send
        await converse(script, xml_socket)

    asyncio.run(main())


def test_B2_a_conversation_by_onXML(runner):
    async def main():
        log = Log()

        async def script(peer):
            await peer.receive(b"Hello!\0")
            await peer.receive(b"<root><item /></root>\0")
            await peer.send(b"Hello!\0")
            await peer.send(b"<root><item /></root>\0")
            await peer.send(b"Hello!\0<root><item /></root>\0")
            await peer.disconnect()

        xml_socket = traced(log)
        xml_socket.close()
        xml_socket.send("Hello!")

        def connected(success):
            log.append(f"connected status: {success}")
            xml_socket.send("Hello!")
            xml_socket.send(avm1.XML("<root><item></item></root>"))

        xml_socket.onConnect = connected
        await converse(script, xml_socket)
        assert log == [
            "connected status: True",
            *["xml Hello!", "xml <root><item /></root>"] * 2,
            "closed",
        ]

    runner(main())


def test_B3_onData_in_place_of_onXML(runner):
    async def main():
        log = Log()

        async def script(peer):
            await peer.send(b"Hello!\0")
            await peer.send(b"<root><item /></root>\0")
            await peer.disconnect()

        await converse(script, traced(log, text=True))
        assert log == ["connected True", "data Hello!", "data <root><item /></root>", "closed"]

    runner(main())


@pytest.mark.parametrize("segments", [[b"Hello!\0", b"<root/>\0"], [b"Hello!\0<root/>\0"]])
def test_B4_close_in_onData_is_the_end(segments, runner):
    async def main():
        log = Log()

        async def script(peer):
            for segment in segments:
                await peer.send(segment)
            await peer.wait_for_disconnect()

        xml_socket = traced(log)

        def close(src):
            log.append(f"data {src}")
            log.append("Closing socket in onData handler")
            xml_socket.close()
            log.append("Successfully closed socket")

        xml_socket.onData = close
        await converse(script, xml_socket)
        assert log == [
            "connected True",
            "data Hello!",
            "Closing socket in onData handler",
            "Successfully closed socket",
        ]

    runner(main())


def test_B5_segments_of_every_kind(runner):
    async def main():
        log = Log()

        async def script(peer):
            for segment in (
                b"\0First\0", b"Hello", b"World!", b"\0", b"This", b" is", b" a ", b"test\0",
                b"One\0Two\0Three\0", b"\0\0\0", b"AA\0BB\0CC", b"DD\0",
            ):  # fmt: skip
                await peer.send(segment)
            await peer.disconnect()

        await converse(script, traced(log, text=True))
        messages = ["", "First", "HelloWorld!", "This is a test", "One", "Two", "Three", "", "", "", "AA", "BB", "CCDD"]
        assert log == ["connected True", *(f"data {message}" for message in messages), "closed"]

    runner(main())


@pytest.mark.parametrize("host", [None, ""])
def test_B6_no_host_is_localhost_for_a_movie_from_a_file(host):
    async def main():
        log = Log()

        async def script(peer):
            await peer.disconnect()

        with Content("file:///movie.swf", sandboxType="localTrusted"):
            async with scripted_server(script, "localhost") as port:
                assert traced(log).connect(host, port) is True
                await idle()
        assert log == ["connected True", "closed"]

    asyncio.run(main())


def test_B15_what_players_return():
    async def main():
        xml_socket = avm1.XMLSocket()
        assert xml_socket.connect("madeuphost", 1_090_929_898) is False
        assert xml_socket.connect("madeuphost", 1_090_929_898) is False
        assert xml_socket.close() is None
        assert xml_socket.close() is None
        assert xml_socket.send("x") is None

    asyncio.run(main())


def test_B16_a_long_conversation_item_by_item(runner):
    items = [
        "Plain text", "Plain *NEWLINE* text", "Plain *NULL* text", "Plain *NULL**NEWLINE* text",
        avm1.XML("<xml>Some XML</xml>"), avm1.XML("<xml>Some XML*NEWLINE*</xml>"),
        avm1.XML("<xml>Some XML*NULL*</xml>"), avm1.XML("<xml>Some XML*NEWLINE**NULL*</xml>"),
        None, 9, "", "a" * 15_000, "Last Item", "closeNow", "moo",
    ]  # fmt: skip
    expected = [
        "Plain text", "Plain \n text", "Plain ", " text", "Plain ", "\n text", "<xml>Some XML</xml>",
        "<xml>Some XML\n</xml>", "<xml>Some XML", "</xml>", "<xml>Some XML\n", "</xml>", "undefined", "9", "",
        "a" * 15_000, "Last Item",
    ]  # fmt: skip

    async def main():
        log, rest = Log(), iter(items)

        async def script(peer):
            while True:
                message = await peer.read_message()
                message = message.replace(b"*NEWLINE*", b"\n").replace(b"*NULL*", b"\0")
                if message == b"closeNow":
                    await peer.disconnect()
                    return
                await peer.send(message + b"\0")

        xml_socket = traced(log)
        xml_socket.onConnect = lambda success: xml_socket.send(next(rest))

        def answer(src):
            log.append(src)
            xml_socket.send(next(rest))

        xml_socket.onData = answer
        await converse(script, xml_socket)
        assert log == [*expected, "closed"]

    runner(main())


def test_B19_sending_on_one_socket_while_another_connects_harms_nothing():
    async def main():
        async def script(peer):
            await peer.disconnect()

        async with scripted_server(script) as port:
            avm1.XMLSocket().connect("127.0.0.1", port)
            avm1.XMLSocket().send("hello")
            await idle()

    asyncio.run(main())
