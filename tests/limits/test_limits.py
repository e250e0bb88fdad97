"""Limits: named once, with a unit and a reason, and refused with their name where they cannot work."""

from __future__ import annotations

import dataclasses
import typing

import pytest

import xmlsocket
from xmlsocket import limits
from xmlsocket.errors import ConfigurationError
from xmlsocket.limits import BlockingLimitOptions, ClientLimitOptions, Limits, LimitSet, ServerLimitOptions
from xmlsocket.net.options import ServeOptions, ServeSettings

SETS = sorted(LimitSet.__subclasses__(), key=lambda cls: cls.__name__)
EVERY = [(cls, description) for cls in SETS if cls.__module__ == limits.__name__ for description in cls.describe()]
NAMES = [f"{cls.__name__}.{description.name}" for cls, description in EVERY]


def hints(cls):
    return {name: hint for name, hint in typing.get_type_hints(cls).items() if not name.startswith("_")}


@pytest.mark.parametrize(("options", "side"), [(ServerLimitOptions, "server"), (ClientLimitOptions, "client")])
def test_the_keyword_arguments_are_the_limits_of_their_side(options, side):
    names = {limit.name for limit in Limits.describe() if limit.side in (None, side)}
    assert hints(options) == {name: hint for name, hint in hints(Limits).items() if name in names}


def test_the_keyword_arguments_of_the_blocking_client_are_some_of_a_clients():
    assert hints(BlockingLimitOptions).items() <= hints(ClientLimitOptions).items()


async def echo(connection):
    async for message in connection:
        await connection.send(message)


@pytest.mark.parametrize("limit", [limit for limit in Limits.describe() if limit.side == "client"])
def test_serve_refuses_a_limit_of_clients_and_says_who_takes_it(limit):
    with pytest.raises(ConfigurationError, match=rf"^{limit.name} bounds a client, .*: connect\(\) takes it$"):
        xmlsocket.serve(echo, "localhost", 0, **{limit.name: limit.default})


@pytest.mark.parametrize("limit", [limit for limit in Limits.describe() if limit.side == "server"])
@pytest.mark.parametrize("connect", [xmlsocket.connect, xmlsocket.sync.connect])
def test_connect_refuses_a_limit_of_servers_and_says_who_takes_it(connect, limit):
    with pytest.raises(ConfigurationError, match=rf"^{limit.name} bounds a server, .*: serve\(\) takes it$"):
        connect("localhost", 8080, **{limit.name: limit.default})


@pytest.mark.parametrize("name", ["send_high_water", "send_low_water", "backoff_initial"])
def test_the_blocking_client_refuses_what_bounds_nothing_there(name):
    with pytest.raises(ConfigurationError, match=rf"^{name} bounds nothing here: xmlsocket.connect\(\)"):
        xmlsocket.sync.connect("localhost", 8080, **{name: getattr(Limits(), name)})


@pytest.mark.parametrize("name", ["backoff_initial", "backoff_max"])
def test_a_client_cannot_be_told_to_try_again_without_a_pause(name):
    with pytest.raises(ConfigurationError, match=f"^{name} must be more than 0 seconds$"):
        Limits(**{name: 0})


@pytest.mark.parametrize("factor", [0, 0.5, 0.999])
def test_the_pauses_of_a_client_cannot_shrink(factor):
    with pytest.raises(ConfigurationError, match=r"^backoff_factor must be 1 or more times"):
        Limits(backoff_factor=factor)


def test_the_keyword_arguments_of_serve_are_its_settings_and_the_limits():
    assert ServeOptions.__annotations__.keys() == (
        {field.name for field in dataclasses.fields(ServeSettings)} | ServerLimitOptions.__annotations__.keys()
    )


@pytest.mark.parametrize(("cls", "limit"), EVERY, ids=NAMES)
def test_a_limit_has_a_unit_a_reason_and_a_default_that_works(cls, limit):
    assert limit.unit
    assert len(limit.why.split()) > 3
    assert not limit.why.endswith(".")
    assert getattr(cls(), limit.name) == limit.default


@pytest.mark.parametrize(("cls", "limit"), EVERY, ids=NAMES)
@pytest.mark.parametrize("value", [-1, "5", True, float("nan"), float("inf")])
def test_a_value_that_cannot_work_is_refused_with_the_name_of_the_limit(cls, limit, value):
    with pytest.raises(ConfigurationError, match=limit.name):
        cls(**{limit.name: value})


@pytest.mark.parametrize(("cls", "limit"), EVERY, ids=NAMES)
def test_none_is_taken_where_there_may_be_no_limit_and_nowhere_else(cls, limit):
    if limit.optional:
        assert getattr(cls(**{limit.name: None}), limit.name) is None
    else:
        with pytest.raises(ConfigurationError, match=f"{limit.name} cannot be None"):
            cls(**{limit.name: None})


@pytest.mark.parametrize(
    "values",
    [
        {"send_low_water": 11, "send_high_water": 10},
        {"max_message_size": 10, "max_send_backlog": 10},
    ],
)
def test_limits_that_contradict_each_other_are_refused_with_both_names(values):
    with pytest.raises(ConfigurationError) as caught:
        Limits(**values)
    assert all(name in str(caught.value) for name in values)


def test_limits_that_just_agree_are_taken():
    Limits(send_low_water=10, send_high_water=10)
    Limits(max_message_size=10, max_send_backlog=11)
