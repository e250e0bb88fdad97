"""The chat, replayed from text files over real sockets: every request, every refusal, in any segmentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.apps.conversation import replay, serving
from tests.conftest import Runner

from xmlsocket.apps import Chat
from xmlsocket.rooms import MemoryBroker

NOON = 1_795_435_200.0  # 2026-11-23T12:00:00Z

TRANSCRIPTS = sorted((Path(__file__).parent.parent / "transcripts" / "chat").glob("*.txt"))


@pytest.mark.parametrize("piece", [1, 7, 100_000])
@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_talk_goes_as_it_is_written(runner: Runner, transcript: Path, piece: int) -> None:
    text = transcript.read_text()

    async def scene() -> None:
        chat = Chat(MemoryBroker(clock=lambda: NOON), clock=lambda: NOON)
        async with serving(chat) as server:
            await replay(text, server, piece=piece)

    runner(scene())
