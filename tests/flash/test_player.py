"""``flash.run``: a program runs as long as some socket is open or connecting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading

import pytest
from tests.flash.scripted import idle, scripted_server

from xmlsocket import flash
from xmlsocket.flash import Content, Security, XMLSocket, run


class Server:
    """A scripted server in a thread of its own, for programs that bring their own event loop."""

    def __init__(self, script):
        self._script = script
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        async with scripted_server(self._script) as self.port:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)


async def echo(peer):
    while (message := await peer.read_message()) != b"bye":
        await peer.send(message + b"\0")
    await peer.disconnect()


def test_a_program_runs_until_its_sockets_are_closed():
    lines = []

    def main():
        xml_socket = XMLSocket("127.0.0.1", server.port)
        xml_socket.addEventListener("connect", lambda event: xml_socket.send("hello"))

        def answer(event):
            lines.append(event.data)
            xml_socket.send("bye")

        xml_socket.addEventListener("data", answer)
        xml_socket.addEventListener("close", lambda event: lines.append("close"))

    with Server(echo) as server:
        assert run(main) is None
    assert lines == ["hello", "close"]


def test_a_socket_that_connects_again_when_it_is_closed_keeps_the_program_running():
    lines = []

    def main():
        xml_socket = XMLSocket("127.0.0.1", server.port)

        def again(event):
            lines.append("close")
            if len(lines) < 3:
                xml_socket.connect("127.0.0.1", server.port)

        xml_socket.addEventListener("connect", lambda event: xml_socket.send("bye"))
        xml_socket.addEventListener("close", again)

    with Server(echo) as server:
        run(main)
    assert lines == ["close"] * 3


def test_what_was_sent_before_close_leaves_before_the_program_ends():
    received = []

    async def take(peer):
        received.append(await peer.read_message())
        await peer.wait_for_disconnect()

    def main():
        xml_socket = XMLSocket("127.0.0.1", server.port)
        xml_socket.addEventListener("connect", lambda event: (xml_socket.send("last words"), xml_socket.close()))

    with Server(take) as server:
        run(main)
    assert received == [b"last words"]


def test_a_program_without_sockets_ends_at_once():
    lines = []
    run(lambda: lines.append("ran"))
    assert lines == ["ran"]


def test_a_coroutine_function_is_waited_for():
    lines = []

    async def main():
        await asyncio.sleep(0)
        lines.append("ran")

    run(main)
    assert lines == ["ran"]


def test_the_program_runs_in_the_content_that_is_given():
    sandboxes = []
    run(lambda: sandboxes.append(Security.sandboxType), Content("http://a.example/movie.swf"))
    run(lambda: sandboxes.append(Security.sandboxType))
    assert sandboxes == ["remote", "application"]


def test_what_the_program_raises_comes_out_and_its_sockets_are_closed():
    def main():
        XMLSocket(*listener.getsockname())
        raise ValueError("on purpose")

    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ValueError, match="on purpose"):
        run(main)


def test_a_program_that_is_interrupted_closes_its_sockets():
    def main():
        xml_socket = XMLSocket(*listener.getsockname())

        def interrupt(event):
            task = next(task for task in asyncio.all_tasks() if task.get_coro().__name__ == "_play")
            task.cancel()

        xml_socket.addEventListener("connect", interrupt)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(asyncio.CancelledError):
            run(main)
        accepted, _ = listener.accept()
        with accepted, contextlib.suppress(ConnectionResetError):
            assert accepted.recv(1) == b""


def test_inside_a_running_loop_the_classes_just_work_and_run_says_so():
    async def main():
        with pytest.raises(RuntimeError, match="running already"):
            run(lambda: None)
        await idle()

    asyncio.run(main())


def test_an_uncaught_error_is_logged_unless_the_program_takes_it(caplog):
    caught = []

    def main():
        XMLSocket("127.0.0.1", 0)

    with caplog.at_level(logging.ERROR, "xmlsocket.flash"):
        run(main)
        previous = flash.setUncaughtErrorHandler(lambda error, event: caught.append((error.errorID, event.type)))
        try:
            run(main)
        finally:
            flash.setUncaughtErrorHandler(previous)
    assert [record.getMessage() for record in caplog.records] == [
        "Error: Error #2044: Unhandled ioError:. text=Error #2031: Socket Error. URL: 127.0.0.1"
    ]
    assert caught == [(2044, "ioError")]
