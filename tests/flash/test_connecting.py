"""Rows A1 to A23: construction, properties, connect."""

from __future__ import annotations

import asyncio

import pytest
from tests.flash.scripted import DEADLINE, Log, free_port, idle, scripted_server, silent_port, watch

from xmlsocket.flash import Content, XMLSocket
from xmlsocket.flash.errors import SecurityError
from xmlsocket.flash.events import IOErrorEvent
from xmlsocket.net.policy_client import PolicyClient


async def hang_up(peer):
    await peer.disconnect()


async def keep(peer):
    await peer.wait_for_disconnect()


def test_A1_a_new_socket_is_disconnected():
    assert XMLSocket().connected is False


def test_A2_a_socket_made_with_a_host_connects_and_tells_listeners_that_are_added_afterwards(runner):
    async def main():
        async with scripted_server(hang_up) as port:
            xml_socket = XMLSocket("localhost", port)
            log = Log()
            assert xml_socket.connected is False
            watch(xml_socket, log)
            await idle()
            assert log == ["connect", "close"]

    runner(main())


def test_A3_a_socket_made_with_a_port_only_does_not_connect(runner):
    async def main():
        xml_socket = XMLSocket(None, 8080)
        await idle()
        assert xml_socket.connected is False

    runner(main())


def test_A4_timeout_is_20000_and_at_least_250():
    xml_socket = XMLSocket()
    assert xml_socket.timeout == 20_000
    for value, read in ((0, 250), (249, 250), (250, 250), (251.9, 251), (60_000, 60_000)):
        xml_socket.timeout = value
        assert xml_socket.timeout == read


def test_A4_changing_timeout_counts_from_the_next_connect():
    async def main():
        with silent_port() as port:
            xml_socket, log = XMLSocket(), Log()
            watch(xml_socket, log)
            xml_socket.timeout = 250
            xml_socket.connect("127.0.0.1", port)
            xml_socket.timeout = 1_000_000
            await idle()
            assert log == ["ioError"]

    asyncio.run(main())


def test_A5_a_negative_timeout_becomes_250():
    xml_socket = XMLSocket()
    xml_socket.timeout = -1
    assert xml_socket.timeout == 250


@pytest.mark.parametrize("host", [None, "", "\0rest"])
def test_A6_no_host_is_the_host_that_the_content_came_from(host):
    async def main():
        async with scripted_server(hang_up) as port:
            log = Log()
            watch(XMLSocket(), log).connect(host, port)
            await idle()
            with Content("http://127.0.0.1/movie.swf", sandboxType="localTrusted"):
                watch(XMLSocket(), log).connect(host, port)
            await idle()
            assert log == ["connect", "close"] * 2

    asyncio.run(main())


def test_A7_a_host_ends_at_its_first_NUL():
    async def main():
        async with scripted_server(hang_up) as port:
            log = Log()
            watch(XMLSocket(), log).connect("127.0.0.1\0.example.com", port)
            await idle()
            assert log == ["connect", "close"]

    asyncio.run(main())


@pytest.mark.parametrize("port", [65_536, -1, 1_090_929_898, 2**32 + 80, "65536", 1e10])
def test_A8_a_port_that_does_not_exist_is_error_2003_thrown(port):
    with pytest.raises(SecurityError) as caught:
        XMLSocket().connect("localhost", port)
    assert str(caught.value) == "SecurityError: Error #2003: Invalid socket port number specified."
    with pytest.raises(PermissionError):
        XMLSocket("localhost", port)


@pytest.mark.parametrize("port", [0, None, "", float("nan")])
def test_A9_port_0_is_tried_and_fails(port):
    async def main():
        log = Log()
        watch(XMLSocket(), log).connect("127.0.0.1", port)
        await idle()
        assert log == ["ioError"]

    asyncio.run(main())


def test_A10_ports_below_1024_need_nothing_unless_a_sandbox_says_so():
    async def main():
        log = Log()
        watch(XMLSocket(), log).connect("127.0.0.1", 1)  # nothing listens there
        await idle()
        assert log == ["ioError"]
        with Content("http://127.0.0.1/movie.swf", policyClient=refusing_client()):
            watch(XMLSocket(), log).connect("127.0.0.1", 1)
        await idle()
        assert log == ["ioError", "securityError"]

    asyncio.run(main())


def test_A11_local_content_without_network_is_error_2010_thrown():
    with Content("file:///movie.swf"), pytest.raises(SecurityError) as caught:
        XMLSocket().connect("localhost", 8080)
    assert str(caught.value).endswith("#2010: Local-with-filesystem SWF files are not permitted to use sockets.")


def test_A12_connect_returns_nothing_and_fails_by_an_event_only():
    async def main():
        log = Log()
        assert watch(XMLSocket(), log).connect("127.0.0.1", free_port()) is None
        assert log == []
        await idle()
        assert log == ["ioError"]

    asyncio.run(main())


def test_A13_connect_is_dispatched_once_after_the_call_and_before_any_data(runner):
    async def main():
        async def greet(peer):
            await peer.send(b"hello\0")
            await peer.disconnect()

        async with scripted_server(greet) as port:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            xml_socket.connect("127.0.0.1", port)
            assert log == []
            await idle()
            assert log == ["connect", "data hello", "close"]

    runner(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "does-not-exist.invalid", "a..b", "x" * 300, "bad host"])
def test_A14_a_failed_attempt_is_exactly_one_ioError_with_the_host_in_its_text(host):
    async def main():
        events = []
        xml_socket = XMLSocket()
        xml_socket.timeout = 10_000
        for kind in ("connect", "close", "securityError", "ioError"):
            xml_socket.addEventListener(kind, events.append)
        port = free_port()
        xml_socket.connect(host, port)
        await idle()
        (event,) = events
        assert (type(event), event.errorID, event.target) == (IOErrorEvent, 2031, xml_socket)
        assert str(event) == (
            '[IOErrorEvent type="ioError" bubbles=false cancelable=false eventPhase=2 '
            f'text="Error #2031: Socket Error. URL: {host}"]'
        )

    asyncio.run(main())


def test_A14_nothing_follows_a_failure_even_after_the_timeout():
    async def main():
        log = Log()
        xml_socket = watch(XMLSocket(), log)
        xml_socket.timeout = 1000
        xml_socket.connect("127.0.0.1", free_port())
        await log.has("ioError")
        # Outlives the first timeout of a second, which was over before: with a second socket that waits for its own.
        with silent_port() as port:
            other = watch(XMLSocket(), log, "other ")
            other.timeout = 1100
            other.connect("127.0.0.1", port)
            await idle()
        assert log == ["ioError", "other ioError"]

    asyncio.run(main())


def test_A15_a_timeout_is_one_ioError_for_content_that_needs_no_policy(runner):
    async def main():
        with silent_port() as port:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            xml_socket.timeout = 0
            xml_socket.connect("127.0.0.1", port)
            await idle()
            assert log == ["ioError"]
            assert xml_socket.connected is False

    runner(main())


def test_A15_a_timeout_is_a_securityError_for_content_that_needs_a_policy():
    async def main():
        with silent_port() as port, Content("http://127.0.0.1/movie.swf"):
            events = []
            xml_socket = XMLSocket()
            xml_socket.timeout = 0
            for kind in ("connect", "close", "ioError", "securityError"):
                xml_socket.addEventListener(kind, events.append)
            xml_socket.connect("127.0.0.1", port)
            await idle()
            (event,) = events
            assert event.type == "securityError"

    asyncio.run(main())


def refusing_client():
    """A session in which every port refuses to be asked for a policy file."""

    async def dial(address, port):
        raise ConnectionRefusedError

    return PolicyClient(dial=dial)


def test_A16_a_denied_connection_is_a_securityError_at_once_that_names_both_sides():
    async def main():
        url = "http://games.example.com/movie.swf"
        with Content(url, policyClient=refusing_client()):
            events = []
            xml_socket = XMLSocket()
            for kind in ("connect", "close", "ioError", "securityError"):
                xml_socket.addEventListener(kind, events.append)
            xml_socket.connect("127.0.0.1", 9339)
            assert events == []
            async with asyncio.timeout(DEADLINE):  # the timeout of the socket is as long
                await idle()
        (event,) = events
        assert str(event) == (
            '[SecurityErrorEvent type="securityError" bubbles=false cancelable=false eventPhase=2 text="Error #2048: '
            f'Security sandbox violation: {url} cannot load data from 127.0.0.1:9339."]'
        )
        assert event.errorID == 2048

    asyncio.run(main())


def test_A17_a_server_that_closes_within_the_timeout_is_close_and_nothing_more():
    async def main():
        async with scripted_server(hang_up) as port:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            xml_socket.timeout = 1000
            xml_socket.connect("127.0.0.1", port)
            await log.has("close")
            with silent_port() as hole:  # outlives the timeout
                other = watch(XMLSocket(), log, "other ")
                other.timeout = 1100
                other.connect("127.0.0.1", hole)
                await idle()
            assert log == ["connect", "close", "other ioError"]

    asyncio.run(main())


def test_A17_an_open_connection_outlives_the_timeout():
    async def main():
        async with scripted_server(keep) as port:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            xml_socket.timeout = 1000
            xml_socket.connect("127.0.0.1", port)
            with silent_port() as hole:
                other = watch(XMLSocket(), log, "other ")
                other.timeout = 1100
                other.connect("127.0.0.1", hole)
                await log.has("other ioError")
            assert xml_socket.connected
            xml_socket.close()
            await idle()
            assert log == ["connect", "other ioError"]

    asyncio.run(main())


def test_A18_nothing_follows_error_2003_and_the_connection_that_there_is_stays():
    async def main():
        async def answer(peer):
            await peer.receive(b"still here\0")
            await peer.send(b"yes\0")
            await peer.disconnect()

        async with scripted_server(answer) as port:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            xml_socket.connect("127.0.0.1", port)
            await log.has("connect")
            with pytest.raises(SecurityError):
                xml_socket.connect("127.0.0.1", 70_000)
            xml_socket.send("still here")
            await idle()
            assert log == ["connect", "data yes", "close"]

    asyncio.run(main())


def test_A19_connect_over_a_connection_closes_that_without_an_event_and_drops_what_it_had(runner):
    async def main():
        async def first(peer):
            await peer.send(b"whole\0half")
            await peer.receive(b"bye\0")
            await peer.wait_for_disconnect()

        async def second(peer):
            await peer.send(b"new\0")
            await peer.wait_for_disconnect()

        async with scripted_server(first) as one, scripted_server(second) as two:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            xml_socket.connect("127.0.0.1", one)
            await log.has("data whole")
            xml_socket.send("bye")
            xml_socket.connect("127.0.0.1", two)
            assert xml_socket.connected is False
            await log.has("data new")
            xml_socket.close()
            await idle()
            assert log == ["connect", "data whole", "connect", "data new"]

    runner(main())


def test_A20_connect_while_connecting_drops_the_old_attempt():
    async def main():
        with silent_port() as hole:
            async with scripted_server(hang_up) as port:
                log = Log()
                xml_socket = watch(XMLSocket(), log)
                xml_socket.connect("127.0.0.1", hole)
                await asyncio.sleep(0)
                xml_socket.connect("127.0.0.1", port)
                await log.has("close")
                await idle()
                assert log == ["connect", "close"]

    asyncio.run(main())


def test_A20_a_program_that_connects_again_and_again_gets_one_connection():
    async def main():
        async with scripted_server(hang_up) as port:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            for _ in range(20):
                xml_socket.connect("127.0.0.1", port)
            await idle()
            assert log == ["connect", "close"]

    asyncio.run(main())


def test_A21_half_a_message_is_not_kept_for_the_next_connection(runner):
    async def main():
        starts = iter([b"one\0stale", b"fresh\0"])

        async def serve(peer):
            await peer.send(next(starts))
            await peer.disconnect()

        async with scripted_server(serve) as port:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            xml_socket.connect("127.0.0.1", port)
            await log.has("close")
            xml_socket.connect("127.0.0.1", port)
            await idle()
            assert log == ["connect", "data one", "close", "connect", "data fresh", "close"]

    runner(main())


def test_A22_connected_is_true_from_the_connect_event_until_the_end(runner):
    async def main():
        async def serve(peer):
            await peer.send(b"x\0")
            await peer.disconnect()

        async with scripted_server(serve) as port:
            log = Log()
            xml_socket = XMLSocket()
            for kind in ("connect", "data", "close", "ioError"):
                xml_socket.addEventListener(kind, lambda event: log.append((event.type, xml_socket.connected)))
            log.append(("new", xml_socket.connected))
            xml_socket.connect("127.0.0.1", port)
            log.append(("called", xml_socket.connected))
            await idle()
            xml_socket.connect("127.0.0.1", free_port())
            await idle()
            assert log == [
                ("new", False),
                ("called", False),
                ("connect", True),
                ("data", True),
                ("close", False),
                ("ioError", False),
            ]

    runner(main())


def test_A22_connected_is_false_right_after_close():
    async def main():
        async with scripted_server(keep) as port:
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            xml_socket.connect("127.0.0.1", port)
            await log.has("connect")
            xml_socket.close()
            assert xml_socket.connected is False
            await idle()
            assert log == ["connect"]

    asyncio.run(main())


@pytest.mark.parametrize(("value", "is_thrown"), [("none", True), ("internal", False), ("all", False)])
def test_A23_allowNetworking_none_is_error_2146_thrown(value, is_thrown):
    async def main():
        with Content("http://a.example/m.swf", allowNetworking=value, policyClient=refusing_client()):
            log = Log()
            xml_socket = watch(XMLSocket(), log)
            if is_thrown:
                with pytest.raises(SecurityError) as caught:
                    xml_socket.connect("127.0.0.1", 9339)
                assert caught.value.message == (
                    "Error #2146: Security sandbox violation: http://a.example/m.swf cannot call XMLSocket.connect() "
                    "because the HTML/container parameter allowNetworking has the value none."
                )
            else:
                xml_socket.connect("127.0.0.1", 9339)
            await idle()
            assert log == ([] if is_thrown else ["securityError"])

    asyncio.run(main())


def test_connecting_without_an_event_loop_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"xmlsocket\.flash\.run"):
        XMLSocket().connect("localhost", 8080)


def test_a_subclass_need_not_call_the_constructor():
    class Chat(XMLSocket):
        def __init__(self):
            self.log = Log()

    async def main():
        async with scripted_server(hang_up) as port:
            chat = Chat()
            watch(chat, chat.log)
            chat.connect("127.0.0.1", port)
            await idle()
            assert chat.log == ["connect", "close"]
            assert str(chat) == "[object Chat]"

    asyncio.run(main())


def test_E18_a_socket_prints_as_its_class():
    assert str(XMLSocket()) == "[object XMLSocket]"
