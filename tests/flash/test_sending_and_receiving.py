"""Rows S1 to S15 and R1 to R21: what goes over an open connection, and how it ends."""

from __future__ import annotations

import asyncio
from xml.etree import ElementTree

import pytest
from tests.flash.scripted import Log, idle, scripted_server, silent_port, watch

from xmlsocket import EmbeddedNulError, OversizedMessageError
from xmlsocket.flash import XML, XMLList, XMLSocket, setUncaughtErrorHandler
from xmlsocket.flash.errors import IOError as FlashIOError
from xmlsocket.flash.errors import TypeError as FlashTypeError
from xmlsocket.flash.events import Event

INVALID_SOCKET = "Error: Error #2002: Operation attempted on invalid socket."


@pytest.fixture
def uncaught():
    caught = []
    previous = setUncaughtErrorHandler(lambda error, event: caught.append(str(error)))
    yield caught
    setUncaughtErrorHandler(previous)


async def converse(script, on_connect=lambda xml_socket: None, close=False):
    """Connect to a scripted server, do something, and return the log when all is over."""
    log = Log()
    async with scripted_server(script) as port:
        xml_socket = watch(XMLSocket(), log)
        xml_socket.addEventListener("connect", lambda event: on_connect(xml_socket))
        xml_socket.connect("127.0.0.1", port)
        if close:
            await log.has("connect")
            xml_socket.close()
        await idle()
    return log


def sends(values, expected, runner=asyncio.run):
    """Check the bytes that sending some values puts on the wire, to the last one."""

    async def script(peer):
        await peer.receive(expected)
        await peer.wait_for_disconnect()

    def send(xml_socket):
        for value in values:
            xml_socket.send(value)
        xml_socket.close()

    assert runner(converse(script, send)) == ["connect"]


def receives(segments, expected, runner=asyncio.run):
    """Check the events that segments of bytes cause."""

    async def script(peer):
        for segment in segments:
            await peer.send(segment)
        await peer.disconnect()

    log = runner(converse(script))
    assert log == ["connect", *(f"data {message}" for message in expected), "close"]


def test_S1_a_message_is_its_text_in_utf8_and_a_zero_byte(runner):
    sends(["Hello!", "é€😀"], "Hello!\0é€😀\0".encode(), runner)


def test_S2_to_S5_values_become_text():
    values = [
        XML("<root>Hello!</root>"),
        XMLList("<a>1</a>"),
        ElementTree.fromstring("<a><b>x</b></a>"),
        9,
        1.5,
        True,
        [1, None, 2],
        {},
    ]
    sends(values, b"<root>Hello!</root>\x001\0<a><b>x</b></a>\x009\x001.5\0true\x001,,2\0[object Object]\0")


def test_S4_an_XML_is_sent_as_its_settings_print_it():
    markup = "<a><b/></a>"
    sends([XML(markup)], b"<a>\n  <b/>\n</a>\0")
    XML.prettyPrinting = False
    try:
        sends([XML(markup)], b"<a><b/></a>\0")
    finally:
        XML.setSettings()


def test_S6_none_is_error_1009_before_any_look_at_the_connection():
    with pytest.raises(FlashTypeError) as caught:
        XMLSocket().send(None)
    assert caught.value.errorID == 1009

    def send(xml_socket):
        with pytest.raises(FlashTypeError):
            xml_socket.send(None)
        xml_socket.send("next")
        xml_socket.close()

    async def script(peer):
        await peer.receive(b"next\0")
        await peer.wait_for_disconnect()

    assert asyncio.run(converse(script, send)) == ["connect"]


def test_S7_send_without_a_connection_is_error_2002_in_every_state():
    def refused(xml_socket):
        with pytest.raises(FlashIOError) as caught:
            xml_socket.send("x")
        return str(caught.value) == INVALID_SOCKET

    async def main():
        xml_socket = XMLSocket()
        assert refused(xml_socket)
        with silent_port() as port:
            xml_socket.connect("127.0.0.1", port)
            assert refused(xml_socket)
            await asyncio.sleep(0)
            assert refused(xml_socket)
            xml_socket.close()
            assert refused(xml_socket)
        log = Log()

        async def script(peer):
            await peer.disconnect()

        async with scripted_server(script) as port:
            xml_socket.addEventListener("close", lambda event: log.append(refused(xml_socket)))
            xml_socket.connect("127.0.0.1", port)
            await idle()
        assert log == [True]
        assert refused(xml_socket)

    asyncio.run(main())


def test_S9_a_NUL_in_the_text_ends_a_message_on_the_wire():
    sends(["one\0two", "\0", "é\0"], "one\0two\0\0\0é\0\0".encode())


def test_S9_a_socket_can_be_told_to_refuse_a_NUL_in_the_text():
    def send(xml_socket):
        xml_socket.refusesEmbeddedNul = True
        with pytest.raises(EmbeddedNulError):
            xml_socket.send("one\0two")
        xml_socket.send("three")
        xml_socket.close()

    async def script(peer):
        await peer.receive(b"three\0")
        await peer.wait_for_disconnect()

    assert asyncio.run(converse(script, send)) == ["connect"]


def test_S10_the_empty_string_is_a_single_zero_byte():
    sends(["", "", "x"], b"\0\0x\0")


def test_S11_a_lone_surrogate_is_sent_as_the_replacement_character_and_a_pair_as_one_character():
    sends(["a\ud83db", "\ud83d\ude00"], b"a\xef\xbf\xbdb\0\xf0\x9f\x98\x80\0")


def test_S12_S13_all_that_was_queued_arrives_before_the_end_of_the_stream(runner):
    message = "x" * 65_536

    async def script(peer):
        for _ in range(100):
            assert await peer.read_message() == message.encode()
        await peer.wait_for_disconnect()

    def send(xml_socket):
        for _ in range(100):
            xml_socket.send(message)
        xml_socket.close()

    # The stream reader of the server takes no more than 64 KiB at a time to look for the end of a message.
    async def wide(peer):
        peer._reader._limit = 1 << 20
        await script(peer)

    assert runner(converse(wide, send)) == ["connect"]


def test_S14_S15_sending_dispatches_neither_data_nor_progress():
    async def script(peer):
        await peer.receive(b"x\0")
        await peer.disconnect()

    assert asyncio.run(converse(script, lambda xml_socket: xml_socket.send("x"))) == ["connect", "close"]


def test_R1_each_zero_byte_ends_a_message_however_many_come_at_once(runner):
    receives([b"one\0two\0three\0"], ["one", "two", "three"], runner)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_R2_R6_a_message_cut_anywhere_arrives_whole(size, runner):
    async def script(peer):
        await peer.send("<a/>\0é€😀\0\0end\0".encode(), size)
        await peer.disconnect()

    assert runner(converse(script)) == ["connect", "data <a/>", "data é€😀", "data ", "data end", "close"]


def test_R2_a_mebibyte_in_single_bytes_at_its_ends_arrives_whole():
    async def script(peer):
        await peer.send(b"abcde", 1)
        await peer.send(b"x" * (1 << 20))
        await peer.send(b"fgh\0", 1)
        await peer.disconnect()

    log = asyncio.run(converse(script))
    assert log == ["connect", "data abcde" + "x" * (1 << 20) + "fgh", "close"]


def test_R3_a_zero_byte_alone_is_an_empty_message():
    receives([b"\0\0\0"], ["", "", ""])
    receives([b"\0First\0"], ["", "First"])


def test_R4_what_is_not_ended_by_a_zero_byte_is_never_a_message():
    receives([b"whole\0half"], ["whole"])
    receives([b"half"], [])


def test_R5_there_is_no_limit_unless_one_is_set():
    size = 3 << 20

    async def script(peer):
        await peer.send(b"x" * size + b"\0")
        await peer.disconnect()

    assert asyncio.run(converse(script)) == ["connect", "data " + "x" * size, "close"]


def test_R5_a_message_over_a_limit_of_ones_own_ends_the_connection():
    async def script(peer):
        await peer.send(b"ok\0")
        await peer.send(b"x" * 11)
        await peer.wait_for_disconnect()

    async def main():
        log = Log()
        async with scripted_server(script) as port:
            xml_socket = watch(XMLSocket(), log)
            xml_socket.maxMessageSize = 10
            xml_socket.connect("127.0.0.1", port)
            await log.has("data ok")
            with pytest.raises(OversizedMessageError):
                xml_socket.send("x" * 11)
            await idle()
        assert log == ["connect", "data ok", "ioError", "close"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xed\x80", "\xed\x80"),
        (b"\xed\x70\x80", "\xedp\x80"),
        (b"\xed\x80\x70", "\xed\x80p"),
        (b"\xc1\x80", "\xc1\x80"),
        (b"\xf9\x80\x80\x80\x80", "\U00040000\x80"),
        (b"\xff", "\xff"),
        (b"\xed\xa0\xbd", "\ud83d"),
        (b"\xed\xa0\xbd\xed\xb0\x8c", "\U0001f40c"),
        (b"\xef\xbb\xbfText", "Text"),
        (b"\xef\xbb\xbf\xef\xbb\xbfText", "\ufeffText"),
        (b"a\xef\xbb\xbf", "a\ufeff"),
        (b"a\r\nb\n \t", "a\r\nb\n \t"),
        (b"<not>&xml;", "<not>&xml;"),
    ],
)
def test_R7_to_R11_bytes_become_text_as_in_the_player(data, text):
    receives([b"before\0" + data + b"\0after\0"], ["before", text, "after"])


def test_R12_after_close_in_a_listener_nothing_more_is_dispatched(runner):
    async def script(peer):
        await peer.send(b"one\0two\0three\0")
        await peer.wait_for_disconnect()

    async def main():
        log = Log()
        async with scripted_server(script) as port:
            xml_socket = watch(XMLSocket(), log)
            xml_socket.addEventListener("data", lambda event: xml_socket.close())
            xml_socket.connect("127.0.0.1", port)
            await idle()
        return log

    assert runner(main()) == ["connect", "data one"]


def test_R13_a_listener_that_raises_stops_neither_other_listeners_nor_the_next_messages(uncaught):
    async def script(peer):
        await peer.send(b"one\0two\0three\0")
        await peer.disconnect()

    async def main():
        log = Log()
        async with scripted_server(script) as port:
            xml_socket = XMLSocket()

            def fail(event):
                if event.data == "one":
                    raise ValueError("on purpose")

            xml_socket.addEventListener("data", fail)
            watch(xml_socket, log)
            xml_socket.connect("127.0.0.1", port)
            await idle()
        return log

    assert asyncio.run(main()) == ["connect", "data one", "data two", "data three", "close"]
    assert uncaught == ["on purpose"]


def test_R13_listeners_without_end_do_not_end_the_connection(uncaught):
    async def script(peer):
        await peer.send(b"one\0two\0")
        await peer.disconnect()

    async def main():
        log = Log()
        async with scripted_server(script) as port:
            xml_socket = watch(XMLSocket(), log)
            xml_socket.addEventListener("data", lambda event: xml_socket.dispatchEvent(Event("again")))
            xml_socket.addEventListener("again", lambda event: xml_socket.dispatchEvent(Event("again")))
            xml_socket.connect("127.0.0.1", port)
            await idle()
        return log

    assert asyncio.run(main()) == ["connect", "data one", "data two", "close"]
    assert len(uncaught) == 2


def test_R14_after_connect_in_a_listener_the_rest_of_the_old_read_is_dropped(runner):
    async def first(peer):
        await peer.send(b"one\0two\0thr")
        await peer.wait_for_disconnect()

    async def second(peer):
        await peer.send(b"new\0")
        await peer.disconnect()

    async def main():
        log = Log()
        async with scripted_server(first) as one, scripted_server(second) as two:
            xml_socket = watch(XMLSocket(), log)

            def move(event):
                if event.data == "one":
                    xml_socket.connect("127.0.0.1", two)

            xml_socket.addEventListener("data", move)
            xml_socket.connect("127.0.0.1", one)
            await idle()
        return log

    assert runner(main()) == ["connect", "data one", "connect", "data new", "close"]


def test_R15_all_data_comes_before_the_one_close(runner):
    receives([b"x\0" * 5000], ["x"] * 5000, runner)


def test_R16_a_lost_connection_is_an_ioError_and_then_close():
    async def script(peer):
        await peer.receive(b"go\0")
        peer.reset()

    async def main():
        log = Log()
        async with scripted_server(script) as port:
            xml_socket = XMLSocket()
            for kind in ("connect", "ioError", "close"):
                xml_socket.addEventListener(kind, lambda event: log.append((event.type, xml_socket.connected)))
            xml_socket.addEventListener("ioError", lambda event: log.append(event.text))
            xml_socket.addEventListener("connect", lambda event: xml_socket.send("go"))
            xml_socket.connect("127.0.0.1", port)
            await idle()
        return log

    assert asyncio.run(main()) == [
        ("connect", True),
        ("ioError", False),
        "Error #2031: Socket Error. URL: 127.0.0.1",
        ("close", False),
    ]


def test_R16_who_connects_anew_in_the_ioError_gets_no_close_of_the_old_connection():
    async def script(peer):
        await peer.receive(b"go\0")
        peer.reset()

    async def answer(peer):
        await peer.receive(b"go\0")
        await peer.disconnect()

    async def main():
        log = Log()
        async with scripted_server(script) as port, scripted_server(answer) as other:
            xml_socket = watch(XMLSocket(), log)
            xml_socket.addEventListener("ioError", lambda event: xml_socket.connect("127.0.0.1", other))
            xml_socket.addEventListener("connect", lambda event: xml_socket.send("go"))
            xml_socket.connect("127.0.0.1", port)
            await idle()
        return log

    assert asyncio.run(main()) == ["connect", "ioError", "connect", "close"]


def test_R17_ones_own_close_has_no_event(runner):
    async def script(peer):
        await peer.wait_for_disconnect()

    assert runner(converse(script, close=True)) == ["connect"]


def test_R18_close_without_a_connection_is_error_2002_each_time():
    async def main():
        async def script(peer):
            await peer.wait_for_disconnect()

        xml_socket, log = XMLSocket(), Log()
        async with scripted_server(script) as port:
            for _ in range(2):
                with pytest.raises(FlashIOError) as caught:
                    xml_socket.close()
                assert str(caught.value) == INVALID_SOCKET
            watch(xml_socket, log).connect("127.0.0.1", port)
            await log.has("connect")
            xml_socket.close()
            with pytest.raises(ConnectionError):
                xml_socket.close()
            await idle()

    asyncio.run(main())


def test_R19_close_while_connecting_ends_the_attempt_without_event_or_exception(runner):
    async def main():
        log = Log()
        with silent_port() as port:
            for turns in range(4):
                xml_socket = watch(XMLSocket(), log)
                xml_socket.connect("127.0.0.1", port)
                for _ in range(turns):
                    await asyncio.sleep(0)
                xml_socket.close()
                await idle()
        return log

    assert runner(main()) == []


def test_R19_close_at_any_moment_of_connecting_is_silent(runner):
    async def main():
        log = Log()

        async def script(peer):
            await peer.wait_for_disconnect()

        async with scripted_server(script) as port:
            for turns in range(12):
                xml_socket = watch(XMLSocket(), log)
                xml_socket.connect("127.0.0.1", port)
                for _ in range(turns):
                    await asyncio.sleep(0)
                was_told = "connect" in log
                xml_socket.close()
                await idle()
                assert log == ["connect"] * was_told
                log.clear()

    runner(main())


def test_R20_the_same_object_connects_again_after_close_and_after_the_servers_close(runner):
    async def main():
        log = Log()

        async def script(peer):
            await peer.receive(b"hi\0")
            await peer.send(b"hello\0")
            await peer.wait_for_disconnect()

        async with scripted_server(script) as port:
            xml_socket = watch(XMLSocket(), log)
            xml_socket.addEventListener("connect", lambda event: xml_socket.send("hi"))
            for count in range(1, 4):
                xml_socket.connect("127.0.0.1", port)
                await log.has("data hello", count)
                xml_socket.close()
                await idle()
        assert log == ["connect", "data hello"] * 3

    runner(main())


def test_R20_a_listener_of_close_may_connect_again():
    async def main():
        log = Log()

        async def script(peer):
            await peer.disconnect()

        async with scripted_server(script) as port:
            xml_socket = watch(XMLSocket(), log)

            def again(event):
                if log.count("close") < 3:
                    xml_socket.connect("127.0.0.1", port)

            xml_socket.addEventListener("close", again)
            xml_socket.connect("127.0.0.1", port)
            await idle()
        assert log == ["connect", "close"] * 3

    asyncio.run(main())


def test_R21_no_event_is_dispatched_inside_a_call(runner):
    async def main():
        log, calls = Log(), []

        async def script(peer):
            await peer.receive(b"a\0b\0")
            await peer.send(b"c\0")
            await peer.disconnect()

        async with scripted_server(script) as port:
            xml_socket = watch(XMLSocket(), log)

            def send(event):
                for value in ("a", "b"):
                    before = list(log)
                    xml_socket.send(value)
                    calls.append(log == before)

            xml_socket.addEventListener("connect", send)
            xml_socket.connect("127.0.0.1", port)
            calls.append(log == [])
            await idle()
        assert calls == [True, True, True]
        assert log == ["connect", "data c", "close"]

    runner(main())


def test_B23_a_BOM_and_the_text_are_the_text_alone():
    receives([b"\xef\xbb\xbfText\0"], ["Text"])


def test_E23_a_data_event_comes_from_the_socket_itself_and_is_cloned_for_another_dispatcher():
    async def main():
        events = []

        async def script(peer):
            await peer.send(b"x\0")
            await peer.disconnect()

        async with scripted_server(script) as port:
            xml_socket, other = XMLSocket(), XMLSocket()
            xml_socket.addEventListener("data", events.append)
            xml_socket.addEventListener("data", other.dispatchEvent)
            other.addEventListener("data", events.append)
            xml_socket.connect("127.0.0.1", port)
            await idle()
        first, second = events
        assert (first.target, second.target, first.data, second.data) == (xml_socket, other, "x", "x")

    asyncio.run(main())


def test_an_ioError_without_listener_goes_to_the_handler_of_uncaught_errors(uncaught):
    async def main():
        xml_socket = XMLSocket()
        xml_socket.connect("127.0.0.1", 0)
        await idle()

    asyncio.run(main())
    assert uncaught == ["Error: Error #2044: Unhandled ioError:. text=Error #2031: Socket Error. URL: 127.0.0.1"]
