"""XMLSocket as Ruffle and OpenFL have it, against the library's server, and through the gateway against a plain one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from tests.browser.setting import Setting, Settings

Scene: TypeAlias = Callable[[Setting], Awaitable[None]]

UNICODE = "é€😀ß – a\r\nb\tc"
MEBIBYTE = 1 << 20


@pytest.fixture(params=["direct", "gateway"])
def door(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["avm2", "avm1", "openfl"])
def play(request: pytest.FixtureRequest, settings: Settings, door: str) -> Callable[[Scene], None]:
    """Run a scene with a player of each kind, at each door."""

    def run(scene: Scene) -> None:
        async def whole() -> None:
            try:
                await scene(await settings.set(request.param, door))
            finally:
                await settings.venue.clear()

        settings.studio.run(whole())

    return run


def test_what_is_sent_comes_back(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        for text in ("<hello/>", UNICODE, "", "x"):
            await socket.send(text)
            assert await peer.receive() == text.encode()
            await peer.send(text.encode())
            assert await socket.receive(1) == [text]

    play(scene)


def test_messages_of_one_segment_arrive_one_by_one(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        await peer.send(b"one", b"", b"", b"two", b"three", b"")
        assert await socket.receive(6) == ["one", "", "", "two", "three", ""]
        assert await socket.told() == []

    play(scene)


def test_a_message_cut_at_every_byte_arrives_whole(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        await peer.send(UNICODE.encode(), b"", "ü".encode(), size=1)
        assert await socket.receive(3) == [UNICODE, "", "ü"]
        assert await socket.told() == []

    play(scene)


def test_a_byte_order_mark_is_what_the_player_makes_of_it(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        await peer.send("\ufeffmarked".encode())
        expected = "marked" if setting.player.kind == "avm2" else "\ufeffmarked"
        assert await socket.receive(1) == [expected]

    play(scene)


def test_a_mebibyte_goes_there_and_back(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        text = "0123456789abcdef" * (MEBIBYTE // 16)
        await socket.send(text)
        assert await peer.receive() == text.encode()
        await peer.send(text.encode())
        assert await socket.receive(1) == [text]

    play(scene)


def test_ten_thousand_messages_to_the_player_arrive_once_and_in_order(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        texts = [f"message {number}" for number in range(10_000)]
        await peer.send(*(text.encode() for text in texts))
        assert await socket.receive(len(texts)) == texts
        await peer.send(b"last")
        assert await socket.receive(1) == ["last"]

    play(scene)


def test_three_hundred_messages_from_the_player_arrive_once_and_in_order(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        texts = [f"message {number}" for number in range(300)]
        await socket.send(*texts, "last")
        assert [await peer.receive() for _ in range(301)] == [text.encode() for text in (*texts, "last")]

    play(scene)


def test_three_sockets_at_once_do_not_mix(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        met = [await setting.meet() for _ in range(3)]
        for number in range(20):
            for socket, _ in met:
                await socket.send(f"{socket.name} {number}")
            for socket, peer in met:
                await peer.send(f"to {socket.name} {number}".encode())
        for socket, peer in met:
            assert await socket.receive(20) == [f"to {socket.name} {number}" for number in range(20)]
            received = [await peer.receive() for _ in range(20)]
            assert received == [f"{socket.name} {number}".encode() for number in range(20)]

    play(scene)


def test_the_last_words_of_a_server_arrive_before_the_close(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        await peer.send(b"one", b"bye")
        await peer.close()
        assert await socket.receive(2) == ["one", "bye"]
        await socket.closed()

    play(scene)


def test_a_server_that_breaks_off_is_a_close(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        await peer.abort()
        await socket.closed()

    play(scene)


def test_the_last_words_of_a_player_arrive_before_its_close(play: Callable[[Scene], None]) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        await socket.player.run([["send", socket.name, "bye"], ["close", socket.name]])
        assert await peer.receive() == b"bye"
        assert await peer.receive() is None
        await peer.close()
        # Who closes is not told; in another exchange there was time enough to be.
        await setting.meet()
        assert await socket.told() == []

    play(scene)


@pytest.mark.parametrize("breaks_off", [False, True], ids=["closed", "broken off"])
def test_a_socket_connects_again_after_it_was_closed(play: Callable[[Scene], None], breaks_off: bool) -> None:
    async def scene(setting: Setting) -> None:
        socket, peer = await setting.meet()
        for _ in range(3):
            await (peer.abort() if breaks_off else peer.close())
            await socket.closed()
            await socket.connect(setting.port)
            peer = await setting.greet(socket)

    play(scene)
