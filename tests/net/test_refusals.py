"""Clients that are turned away: the log says so, and is not flooded."""

from __future__ import annotations

import asyncio
import logging

import pytest

from xmlsocket.net.refusals import RefusalLog

MINUTE = 60.0


@pytest.fixture
def log(caplog):
    """A log of refusals on a loop whose timers go off when the test says so, and what it has logged."""

    class Loop:
        timer = None

        def call_later(self, delay, callback):
            assert delay == MINUTE
            self.timer = callback
            return self

        def cancel(self):
            self.timer = None

        def pass_a_minute(self):
            callback, self.timer = self.timer, None
            callback()

    class Log(RefusalLog):
        loop = Loop()

        def __init__(self):
            super().__init__(self.loop, logging.getLogger("test"))

        @property
        def lines(self):
            return caplog.messages

    with caplog.at_level(logging.WARNING):
        yield Log()


def test_a_refusal_is_logged_at_once_and_those_of_the_next_minute_are_counted(log):
    for number in range(1000):
        log.add(number, "there are too many")
    assert log.lines == ["refused 0: there are too many"]
    log.loop.pass_a_minute()
    assert log.lines[1:] == ["refused 999 more within a minute"]


def test_a_flood_without_end_is_one_line_a_minute(log):
    log.add(0, "there are too many")
    for minute in range(1, 10):
        for _ in range(minute):
            log.add("another", "there are too many")
        log.loop.pass_a_minute()
    assert log.lines[1:] == [f"refused {minute} more within a minute" for minute in range(1, 10)]


def test_after_a_minute_without_refusals_the_next_is_logged_at_once(log):
    log.add("one", "there are too many")
    log.loop.pass_a_minute()
    assert log.loop.timer is None
    log.add("two", "there are too many")
    assert log.lines == ["refused one: there are too many", "refused two: there are too many"]


def test_what_was_not_reported_is_reported_at_the_end_and_no_timer_is_left():
    async def main():
        loop = asyncio.get_running_loop()
        log = RefusalLog(loop, logging.getLogger("test"))
        log.add("one", "there are too many")
        log.add("two", "there are too many")
        log.stop()
        assert log._timer is None
        log.stop()

    asyncio.run(main())


def test_the_rest_is_reported_once(log):
    log.add("one", "there are too many")
    log.add("two", "there are too many")
    log.stop()
    log.stop()
    assert log.lines[1:] == ["refused 1 more within a minute"]
