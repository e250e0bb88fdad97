"""Masking with and without the compiled function does the same."""

from __future__ import annotations

import builtins
import importlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.wire import masking

keys = st.binary(min_size=4, max_size=4)


def test_the_compiled_function_is_installed_with_the_tests() -> None:
    assert masking.COMPILED_MASK


@given(st.one_of(st.binary(max_size=40), st.just(b"abc" * 5000)), keys)
def test_every_byte_is_combined_with_its_byte_of_the_key(data: bytes, key: bytes) -> None:
    # RFC 6455, section 5.3
    expected = bytes(byte ^ key[index % 4] for index, byte in enumerate(data))
    assert masking.mask(data, key) == expected
    assert masking.mask_portable(data, key) == expected
    assert masking.mask_portable(memoryview(data), key) == expected


@given(st.binary(max_size=30), keys, st.integers(0, 30))
def test_a_turned_key_goes_on_where_the_payload_was_cut(data: bytes, key: bytes, place: int) -> None:
    pieces = masking.mask(data[:place], key) + masking.mask(data[place:], masking.rotate(key, place))
    assert pieces == masking.mask(data, key)


@pytest.mark.parametrize("take", [masking.take_masked, masking.take_masked_portable])
def test_a_run_of_frames_is_taken_up_to_the_first_of_another_kind(take: masking.Take) -> None:
    data = b"\x82\x83abcd" + masking.mask(b"one", b"abcd") + b"\x82\x80efgh" + b"\x89\x80ijkl"
    payloads: list[bytes] = []
    assert take(data, 0, 2, 100, payloads) == 15
    assert payloads == [b"one", b""]
    assert take(data, 15, 2, 100, payloads) == 15
    assert take(data, 15, 9, 100, payloads) == len(data)


@given(
    data=st.binary(max_size=140),
    limit=st.integers(0, 140),
    opcode=st.sampled_from([1, 2]),
    first=st.sampled_from([0x82, 0x81]),
)
def test_one_frame_alone_is_what_a_run_of_one_is(data: bytes, limit: int, opcode: int, first: int) -> None:
    frame = bytes((first, 0x80 | len(data))) + b"abcd" + masking.mask(data, b"abcd") if len(data) < 126 else data
    for piece in (frame, frame[:-1], frame + b"\x82", data):
        payloads: list[bytes] = []
        is_one = masking.take_masked(piece, 0, opcode, limit, payloads) == len(piece) and len(payloads) == 1
        assert masking.take_one(piece, opcode, limit) == (payloads[0] if is_one else None)


def test_without_the_compiled_function_everything_works(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def import_without_speedups(name: str, *rest: object, **more: object) -> object:
        if name.startswith("websockets"):
            raise ImportError(name)
        return real_import(name, *rest, **more)  # type: ignore[arg-type]  # passed through

    monkeypatch.delitem(sys.modules, "xmlsocket.wire.masking")
    monkeypatch.setattr(builtins, "__import__", import_without_speedups)
    portable = importlib.import_module("xmlsocket.wire.masking")
    assert portable is not masking
    assert not portable.COMPILED_MASK
    assert portable.mask(b"one", b"abcd") == masking.mask(b"one", b"abcd")
    payloads: list[bytes] = []
    portable.take_masked(b"\x82\x83abcd" + masking.mask(b"one", b"abcd"), 0, 2, 100, payloads)
    assert payloads == [b"one"]
