from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cluster.kept_nodes import node
from tests.net.peers import until

from xmlsocket.rooms.cluster.kept_envelope import KeptBatch, decode_batch, encoded_size
from xmlsocket.rooms.cluster.numbers import STEP

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=50)
BATCHES = st.builds(
    KeptBatch,
    node=st.from_regex(r"[0-9a-z]{12}", fullmatch=True),
    epoch=st.integers(0, 2**40),
    number=st.integers(0, 2**40),
    previous=st.integers(0, 2**63),
    first_id=st.integers(1, 2**63),
    ceiling=st.integers(0, 2**63),
    at=st.floats(0, 1e11),
    room=TEXTS,
    said=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5),
)


@given(BATCHES)
def test_a_batch_that_is_written_is_read_as_it_was(batch):
    assert decode_batch(batch.encode()) == batch


@given(BATCHES)
def test_a_batch_is_as_long_as_its_parts_say(batch):
    empty = KeptBatch("x" * 12, 0, 0, 0, 1, 0, 0.0, batch.room, [])
    sizes = sum(encoded_size(sender, text) for sender, text in batch.said)
    assert len(batch.encode()) <= len(empty.encode()) + 200 + sizes


@given(st.binary(max_size=200) | BATCHES.map(lambda batch: batch.encode()[1:]))
def test_what_is_no_batch_is_refused_and_never_fails_otherwise(payload):
    try:
        batch = decode_batch(payload)
    except ValueError as error:
        said = str(error)
    else:
        said = "xmlsocket"
        assert decode_batch(batch.encode()) == batch
    assert "xmlsocket" in said


def test_a_newer_version_is_told_from_garbage():
    with pytest.raises(ValueError, match="version 2"):
        decode_batch(b"2 whatever\0else\0")


def test_ceilings_only_rise_and_nobody_gets_the_numbers_of_another(shared_nats, new_prefix):
    async def main():
        async with (
            node(shared_nats.url, new_prefix, rooms=()) as one,
            node(shared_nats.url, new_prefix, rooms=()) as two,
        ):
            await until(lambda: one.is_ready and two.is_ready)
            numbers = [one._numbers, two._numbers]
            assert await numbers[0].read("a.*") is None
            assert sorted(await asyncio.gather(*(each.take_new("a.*") for each in numbers))) == [False, True]
            assert await numbers[1].read("a.*") == STEP
            bases = await asyncio.gather(*(numbers[turn % 2].pass_all("a.*") for turn in range(10)))
            assert sorted(bases) == [STEP * count for count in range(1, 11)]
            raised = await asyncio.gather(*(each.raise_to("a.*", 50_000) for each in numbers))
            assert set(raised) == {50_000 + STEP}
            assert await numbers[0].raise_to("a.*", 5) == 50_000 + STEP
            assert await numbers[0].read("b") is None

    asyncio.run(main())
