from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket import ConfigurationError
from xmlsocket.rooms.cluster.subjects import Subjects, token_of

AWKWARD = [
    "",
    ".",
    "*",
    ">",
    "a.b",
    "a.*",
    "a.>",
    "a b",
    "\t",
    "\r\n",
    "é",
    "E",
    "e",
    "💬",
    "\ud800",
    "n-a",
    "b-",
    "h-",
]
any_name = st.text(st.characters(), max_size=200) | st.text(max_size=2000) | st.sampled_from(AWKWARD)


@given(any_name)
def test_any_name_becomes_one_token_without_syntax_and_of_bounded_length(name):
    assert re.fullmatch(r"[A-Za-z0-9_-]{2,130}", token_of(name))


@given(any_name, any_name)
def test_two_names_have_one_token_only_if_they_are_equal(one, other):
    assert (token_of(one) == token_of(other)) == (one == other)


def test_names_that_look_like_tokens_or_differ_in_case_stay_apart():
    names = [*AWKWARD, *map(token_of, AWKWARD), "lobby", "Lobby", "LOBBY", "x" * 1000, "x" * 1001, "é" * 1000]
    assert len({token_of(name) for name in names}) == len(set(names))


def test_a_plain_name_can_be_read_in_its_subject():
    assert Subjects("shop").live("lobby") == "shop.live.n-lobby"


@pytest.mark.parametrize("prefix", ["", "a.b", "*", ">", "a b", "é", "x" * 33])
def test_a_prefix_that_could_reach_other_subjects_is_refused(prefix):
    with pytest.raises(ConfigurationError, match="prefix"):
        Subjects(prefix)
