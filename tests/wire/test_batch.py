"""A batch is encoded once for each kind of receiver, and takes no message once somebody has written it."""

from __future__ import annotations

from xmlsocket.wire import Batch, MessageEncoder, text_codec


class CountingEncoder(MessageEncoder):
    def __init__(self, encoding="utf-8"):
        super().__init__(text_codec(encoding), None)
        self.calls = 0

    def encode(self, messages):
        self.calls += 1
        return super().encode(messages)


def make_batch(*messages):
    batch = Batch()
    for message in messages:
        batch.append(message)
    return batch


def test_a_thousand_receivers_cost_one_encoding():
    encoder = CountingEncoder()
    batch = make_batch("one", "zwölf", b"raw")
    first = batch.encode(encoder)
    assert first == b"one\0zw\xc3\xb6lf\0raw\0"
    assert all(batch.encode(encoder) is first for _ in range(1000))
    assert encoder.calls == 1


def test_each_encoding_is_made_once():
    encoders = [CountingEncoder(), CountingEncoder("cp1252")]
    batch = make_batch("ö")
    assert [batch.encode(encoder) for encoder in encoders * 3] == [b"\xc3\xb6\0", b"\xf6\0"] * 3
    assert [encoder.calls for encoder in encoders] == [1, 1]


def test_writing_seals_a_batch():
    batch = make_batch("a")
    assert not batch.is_sealed
    batch.encode(CountingEncoder())
    assert batch.is_sealed


def test_sealing_without_writing_is_possible_too():
    batch = make_batch("a")
    batch.seal()
    assert batch.is_sealed
    assert len(batch) == 1


def test_an_empty_batch_is_no_bytes_and_not_an_empty_message():
    assert Batch().encode(CountingEncoder()) == b""
