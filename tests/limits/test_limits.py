"""Limits: named once, with a unit and a reason, and refused with their name where they cannot work."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from xmlsocket import limits
from xmlsocket.errors import ConfigurationError
from xmlsocket.limits import LimitOptions, Limits, LimitSet
from xmlsocket.net.options import ServeOptions, ServeSettings

SETS = sorted(LimitSet.__subclasses__(), key=lambda cls: cls.__name__)
EVERY = [(cls, description) for cls in SETS if cls.__module__ == limits.__name__ for description in cls.describe()]
NAMES = [f"{cls.__name__}.{description.name}" for cls, description in EVERY]


def hints(cls):
    return {name: hint for name, hint in typing.get_type_hints(cls).items() if not name.startswith("_")}


def test_the_keyword_arguments_are_the_fields_of_limits():
    assert hints(LimitOptions) == hints(Limits)


def test_the_keyword_arguments_of_serve_are_its_settings_and_the_limits():
    assert ServeOptions.__annotations__.keys() == (
        {field.name for field in dataclasses.fields(ServeSettings)} | LimitOptions.__annotations__.keys()
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
