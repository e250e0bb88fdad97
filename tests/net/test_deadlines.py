"""Many equal timeouts on one timer."""

from __future__ import annotations

import asyncio

from tests.net.peers import until

from xmlsocket.net.deadlines import DeadlineQueue


class Clock:
    """A loop that only knows time, and timers that a test sets off."""

    def __init__(self):
        self.now = 1000.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, delay, callback):
        timer = Timer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds):
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.when <= self.now]:
            self.timers.remove(timer)
            if not timer.cancelled:
                timer.callback()


class Timer:
    def __init__(self, when, callback):
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


def make(timeout=10.0):
    clock, expired = Clock(), []
    return clock, DeadlineQueue(clock, timeout, expired.append), expired


def test_each_thing_expires_once_its_time_has_come_and_not_before():
    clock, queue, expired = make()
    queue.add("a")
    clock.advance(5)
    queue.add("b")
    clock.advance(4.9)
    assert expired == []
    clock.advance(0.2)
    assert expired == ["a"]
    clock.advance(4.8)
    assert expired == ["a"]
    clock.advance(0.2)
    assert expired == ["a", "b"]
    assert len(queue) == 0


def test_what_is_discarded_does_not_expire():
    clock, queue, expired = make()
    queue.add("a")
    queue.add("b")
    queue.discard("a")
    queue.discard("never there")
    clock.advance(11)
    assert expired == ["b"]


def test_ten_thousand_timeouts_need_one_timer():
    clock, queue, expired = make()
    for number in range(10_000):
        clock.now += 0.000_1
        queue.add(number)
    assert len(clock.timers) == 1
    clock.advance(8)
    assert expired == []
    clock.advance(4)
    assert expired == list(range(10_000))


def test_without_a_timeout_nothing_is_kept():
    clock, queue, _ = make(None)
    queue.add("a")
    assert len(queue) == 0
    assert clock.timers == []


def test_clearing_forgets_everything_and_the_queue_can_be_used_again():
    clock, queue, expired = make()
    queue.add("a")
    queue.clear()
    clock.advance(20)
    assert expired == []
    queue.add("b")
    assert "b" in queue
    clock.advance(11)
    assert expired == ["b"]


def test_an_expiry_may_discard_and_add_others():
    clock = Clock()
    expired = []

    def expire(thing):
        expired.append(thing)
        queue.discard("b")
        if thing == "a":
            queue.add("c")

    queue = DeadlineQueue(clock, 10.0, expire)
    queue.add("a")
    queue.add("b")
    clock.advance(11)
    assert expired == ["a"]
    clock.advance(11)
    assert expired == ["a", "c"]


def test_it_works_on_a_real_loop(runner):
    async def main():
        expired = []
        queue = DeadlineQueue(asyncio.get_running_loop(), 0.0, expired.append)
        queue.add("a")
        await until(lambda: expired == ["a"])

    runner(main())
