"""Rows E1 to E23 of the behaviour table: how events are dispatched. Rows are named in the tests."""

from __future__ import annotations

import gc

import pytest

from xmlsocket.flash.errors import Error
from xmlsocket.flash.errors import TypeError as FlashTypeError
from xmlsocket.flash.events import (
    DataEvent,
    ErrorEvent,
    Event,
    EventDispatcher,
    EventPhase,
    IEventDispatcher,
    IOErrorEvent,
)
from xmlsocket.flash.uncaught import setUncaughtErrorHandler


@pytest.fixture
def uncaught():
    """Collect uncaught errors instead of logging them."""
    caught = []
    previous = setUncaughtErrorHandler(lambda error, event: caught.append((error, event)))
    yield caught
    setUncaughtErrorHandler(previous)


class Trace:
    """Listeners that write down their name when they are called."""

    def __init__(self):
        self.lines = []

    def __call__(self, name, then=lambda event: None):
        def listener(event):
            self.lines.append(name)
            then(event)

        return listener


def test_E1_higher_priority_runs_first_and_equal_ones_in_the_order_of_registration():
    trace, dispatcher = Trace(), EventDispatcher()
    for name, priority in (("one", 0), ("low", -5), ("two", 0), ("high", 20), ("three", 0), ("mid", 10)):
        dispatcher.addEventListener("test", trace(name), False, priority)
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["high", "mid", "one", "two", "three", "low"]


def test_E1_priority_is_a_signed_number_of_32_bits():
    trace, dispatcher = Trace(), EventDispatcher()
    dispatcher.addEventListener("test", trace("zero"))
    dispatcher.addEventListener("test", trace("wrapped"), False, 1 << 31)
    dispatcher.addEventListener("test", trace("largest"), False, (1 << 31) - 1)
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["largest", "zero", "wrapped"]


def test_E2_a_duplicate_is_ignored_keeps_the_first_priority_and_goes_with_one_removal():
    trace, dispatcher = Trace(), EventDispatcher()
    twice = trace("twice")
    dispatcher.addEventListener("test", twice, False, 0)
    dispatcher.addEventListener("test", trace("other"), False, 5)
    dispatcher.addEventListener("test", twice, False, 10)
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["other", "twice"]
    dispatcher.removeEventListener("test", twice)
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["other", "twice", "other"]


def test_E2_a_bound_method_read_twice_is_the_same_listener():
    class Counter:
        count = 0

        def listen(self, event):
            self.count += 1

    counter, other, dispatcher = Counter(), Counter(), EventDispatcher()
    dispatcher.addEventListener("test", counter.listen)
    dispatcher.addEventListener("test", counter.listen)
    dispatcher.addEventListener("test", other.listen)
    dispatcher.dispatchEvent(Event("test"))
    assert (counter.count, other.count) == (1, 1)
    dispatcher.removeEventListener("test", counter.listen)
    dispatcher.dispatchEvent(Event("test"))
    assert (counter.count, other.count) == (1, 2)


def test_E2_a_builtin_method_read_twice_is_the_same_listener():
    events, dispatcher = [], EventDispatcher()
    dispatcher.addEventListener("test", events.append)
    dispatcher.addEventListener("test", events.append)
    dispatcher.dispatchEvent(Event("test"))
    assert len(events) == 1
    dispatcher.removeEventListener("test", events.append)
    assert not dispatcher.hasEventListener("test")


def test_E3_a_capturing_listener_is_registered_apart_and_never_runs_at_the_target():
    trace, dispatcher = Trace(), EventDispatcher()
    both = trace("both")
    dispatcher.addEventListener("test", both, True)
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == []
    dispatcher.addEventListener("test", both)
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["both"]
    dispatcher.removeEventListener("test", both, True)
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["both", "both"]


def test_E4_hasEventListener_counts_capturing_listeners_and_is_false_after_removal():
    dispatcher, listener = EventDispatcher(), print
    answers = [dispatcher.hasEventListener("test")]
    for change in (
        lambda: dispatcher.addEventListener("test", listener),
        lambda: dispatcher.removeEventListener("test", listener),
        lambda: dispatcher.removeEventListener("test", listener),
        lambda: dispatcher.addEventListener("test", listener),
        lambda: dispatcher.addEventListener("test", listener),
        lambda: dispatcher.removeEventListener("test", listener),
        lambda: dispatcher.removeEventListener("test", listener),
        lambda: dispatcher.addEventListener("test", listener, True),
    ):
        change()
        assert dispatcher.willTrigger("test") == dispatcher.hasEventListener("test")
        answers.append(dispatcher.hasEventListener("test"))
    assert answers == [False, True, False, False, True, True, False, False, True]
    assert not dispatcher.hasEventListener("other")


def test_E5_willTrigger_asks_the_parents_too():
    root, middle, leaf = EventDispatcher(), EventDispatcher(), EventDispatcher()
    leaf.parent, middle.parent = middle, root
    root.addEventListener("test", print)
    assert leaf.willTrigger("test")
    assert not leaf.hasEventListener("test")
    assert not leaf.willTrigger("other")


def test_E6_a_listener_removed_during_dispatch_still_gets_the_event():
    trace, dispatcher = Trace(), EventDispatcher()
    last = trace("c")
    dispatcher.addEventListener("test", trace("a", lambda event: dispatcher.removeEventListener("test", last)))
    dispatcher.addEventListener("test", last)
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["a", "c"]
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["a", "c", "a"]


def test_E7_a_listener_added_during_dispatch_gets_only_the_next_event():
    trace, dispatcher = Trace(), EventDispatcher()
    added = trace("added")
    dispatcher.addEventListener("test", trace("adds", lambda event: dispatcher.addEventListener("test", added)))
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["adds"]
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["adds", "adds", "added"]


def test_E8_an_exception_stops_neither_the_next_listener_nor_an_outer_dispatch(uncaught):
    trace, dispatcher = Trace(), EventDispatcher()

    def fail(event):
        raise RuntimeError(f"in {event.type}")

    dispatcher.addEventListener("outer", trace("first", lambda event: dispatcher.dispatchEvent(Event("inner"))))
    dispatcher.addEventListener("outer", fail)
    dispatcher.addEventListener("outer", trace("second"))
    dispatcher.addEventListener("inner", fail)
    dispatcher.addEventListener("inner", trace("inner second"))
    assert dispatcher.dispatchEvent(Event("outer")) is True
    assert trace.lines == ["first", "inner second", "second"]
    assert [str(error) for error, _ in uncaught] == ["in inner", "in outer"]
    assert [event.type for _, event in uncaught] == ["inner", "outer"]


def test_E8_without_a_handler_of_its_own_a_program_finds_the_exception_in_the_log(caplog):
    dispatcher = EventDispatcher()

    def fail(event):
        raise RuntimeError("what went wrong")

    dispatcher.addEventListener("test", fail)
    dispatcher.dispatchEvent(Event("test"))
    (record,) = caplog.records
    assert record.name == "xmlsocket.flash"
    assert "what went wrong" in record.getMessage()
    assert record.exc_info


def test_E8_a_handler_of_uncaught_errors_that_fails_is_logged_and_stops_nothing(caplog):
    trace, dispatcher = Trace(), EventDispatcher()

    def fail(*_):
        raise RuntimeError("again")

    previous = setUncaughtErrorHandler(fail)
    try:
        dispatcher.addEventListener("test", fail)
        dispatcher.addEventListener("test", trace("next"))
        dispatcher.dispatchEvent(Event("test"))
    finally:
        assert setUncaughtErrorHandler(previous) is fail
    assert trace.lines == ["next"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_E8_leaving_the_program_is_no_error_of_a_listener(leave):
    dispatcher = EventDispatcher()

    def interrupt(event):
        raise leave

    dispatcher.addEventListener("test", interrupt)
    with pytest.raises(leave):
        dispatcher.dispatchEvent(Event("test"))


def test_E10_dispatchEvent_is_false_only_after_preventDefault_on_a_cancelable_event():
    dispatcher = EventDispatcher()
    assert dispatcher.dispatchEvent(Event("test", False, True)) is True
    dispatcher.addEventListener("test", lambda event: event.preventDefault())
    assert dispatcher.dispatchEvent(Event("test", False, True)) is False
    dispatcher.addEventListener("stop", lambda event: event.stopPropagation())
    assert dispatcher.dispatchEvent(Event("stop", False, True)) is True
    dispatcher.addEventListener("stop", lambda event: event.stopImmediatePropagation())
    assert dispatcher.dispatchEvent(Event("stop", False, True)) is True


def test_E11_preventDefault_has_no_effect_on_an_event_that_is_not_cancelable():
    event = Event("test")
    event.preventDefault()
    assert not event.isDefaultPrevented()
    event = Event("test", False, True)
    assert not event.isDefaultPrevented()
    event.preventDefault()
    assert event.isDefaultPrevented()


def test_E12_stopPropagation_lets_the_other_listeners_of_the_node_run():
    trace, dispatcher = Trace(), EventDispatcher()
    dispatcher.addEventListener("test", trace("first", lambda event: event.stopPropagation()))
    dispatcher.addEventListener("test", trace("second"))
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["first", "second"]


def test_E12_stopImmediatePropagation_ends_it_at_once():
    trace, dispatcher = Trace(), EventDispatcher()
    dispatcher.addEventListener("test", trace("high", lambda event: event.stopImmediatePropagation()), False, 10)
    dispatcher.addEventListener("test", trace("low"))
    assert dispatcher.dispatchEvent(Event("test", False, True)) is True
    assert trace.lines == ["high"]


class CustomEvent(Event):
    def __init__(self, type, trace):
        super().__init__(type)
        self.trace = trace

    def clone(self):
        self.trace.append("CustomEvent cloned!")
        return CustomEvent(self.type, self.trace)


def test_E13_an_event_dispatched_again_from_its_listener_is_cloned():
    lines, first, second = [], EventDispatcher(), EventDispatcher()

    def again(event):
        lines.append("first handler called")
        second.dispatchEvent(event)

    first.addEventListener("test", again)
    second.addEventListener("test", lambda event: lines.append("second handler called"))
    first.dispatchEvent(CustomEvent("test", lines))
    assert lines == ["first handler called", "CustomEvent cloned!", "second handler called"]


def test_E13_an_event_dispatched_again_later_is_cloned_and_itself_keeps_its_target():
    lines, first, second = [], EventDispatcher(), EventDispatcher()
    targets = []
    first.addEventListener("test", lambda event: lines.append("handler 1"))
    second.addEventListener("test", lambda event: (lines.append("handler 2"), targets.append(event.target)))
    event = CustomEvent("test", lines)
    first.dispatchEvent(event)
    second.dispatchEvent(event)
    assert lines == ["handler 1", "CustomEvent cloned!", "handler 2"]
    assert targets == [second]
    assert event.target is first


def test_E13_a_dispatch_without_listeners_does_not_make_the_next_one_clone():
    lines, first, second = [], EventDispatcher(), EventDispatcher()
    second.addEventListener("test", lambda event: lines.append("handler called"))
    event = CustomEvent("test", lines)
    first.dispatchEvent(event)
    second.dispatchEvent(event)
    assert lines == ["handler called"]


def test_E13_a_received_data_event_dispatched_elsewhere_is_a_new_one_with_the_same_data():
    first, second, events = EventDispatcher(), EventDispatcher(), []
    first.addEventListener(DataEvent.DATA, second.dispatchEvent)
    second.addEventListener(DataEvent.DATA, events.append)
    original = DataEvent(DataEvent.DATA, data="<hello/>")
    first.dispatchEvent(original)
    (clone,) = events
    assert clone is not original
    assert (type(clone), clone.data, clone.target) == (DataEvent, "<hello/>", second)
    assert original.target is first


@pytest.mark.parametrize(("ready", "expected"), [(True, ["target", "clone"]), (False, ["target"])])
def test_E13_a_target_of_ones_own_is_asked_once_and_clones_if_it_is_something(ready, expected):
    lines = []

    class Own(Event):
        @property
        def target(self):
            lines.append("target")
            return EventDispatcher() if ready else None

        def clone(self):
            lines.append("clone")
            return Own(self.type)

    dispatcher = EventDispatcher()
    dispatcher.dispatchEvent(Own("test"))
    assert lines == expected


def test_E14_a_clone_that_is_nothing_is_error_2007(uncaught):
    class Bad(Event):
        def clone(self):
            return None

    dispatcher, event = EventDispatcher(), Bad("test")
    dispatcher.addEventListener("test", lambda event: None)
    dispatcher.dispatchEvent(event)
    with pytest.raises(FlashTypeError) as caught:
        dispatcher.dispatchEvent(event)
    assert str(caught.value) == "TypeError: Error #2007: Parameter event must be non-null."


def test_E14_no_event_at_all_is_error_2007():
    with pytest.raises(TypeError, match="#2007: Parameter event must be non-null"):
        EventDispatcher().dispatchEvent(None)


def test_E14_a_subclass_without_clone_of_its_own_becomes_a_plain_event():
    class Sub(Event):
        pass

    events, dispatcher = [], EventDispatcher()
    dispatcher.addEventListener("test", events.append)
    event = Sub("test", True, True)
    event.extra = 1
    dispatcher.dispatchEvent(event)
    dispatcher.dispatchEvent(event)
    assert [type(event) for event in events] == [Sub, Event]
    assert (events[1].bubbles, events[1].cancelable) == (True, True)
    assert not hasattr(events[1], "extra")


def test_E15_target_is_none_until_a_listener_got_the_event_and_stays():
    dispatcher, event = EventDispatcher(), Event("test")
    assert (event.target, event.currentTarget) == (None, None)
    dispatcher.dispatchEvent(event)
    assert (event.target, event.currentTarget) == (None, None)
    dispatcher.addEventListener("test", lambda event: None)
    dispatcher.dispatchEvent(event)
    assert (event.target, event.currentTarget) == (dispatcher, dispatcher)


def test_E16_the_phase_is_at_target_before_in_listeners_and_after():
    phases, dispatcher, event = [], EventDispatcher(), Event("test")
    dispatcher.addEventListener("test", lambda event: phases.append(event.eventPhase))
    phases.append(event.eventPhase)
    dispatcher.dispatchEvent(event)
    phases.append(event.eventPhase)
    assert phases == [EventPhase.AT_TARGET] * 3 == [2, 2, 2]
    assert (EventPhase.CAPTURING_PHASE, EventPhase.BUBBLING_PHASE) == (1, 3)


def family():
    """A root with a child that has a child, and a log of (who, phase, target)."""
    root, middle, leaf = EventDispatcher(), EventDispatcher(), EventDispatcher()
    leaf.parent, middle.parent = middle, root
    log = []
    for name, node in (("root", root), ("middle", middle), ("leaf", leaf)):
        for capture in (True, False):
            node.addEventListener(
                "test",
                lambda event, name=name, node=node: log.append(
                    (name, event.eventPhase, event.target is leaf, event.currentTarget is node)
                ),
                capture,
            )
    return root, middle, leaf, log


def test_E16_an_event_goes_down_through_the_parents_and_up_again_if_it_bubbles():
    root, _, leaf, log = family()
    event = Event("test", bubbles=True)
    leaf.dispatchEvent(event)
    assert log == [
        ("root", 1, True, True),
        ("middle", 1, True, True),
        ("leaf", 2, True, True),
        ("middle", 3, True, True),
        ("root", 3, True, True),
    ]
    assert event.eventPhase == 2
    assert event.currentTarget is root


def test_E16_an_event_that_does_not_bubble_is_captured_all_the_same():
    _, _, leaf, log = family()
    leaf.dispatchEvent(Event("test"))
    assert [entry[:2] for entry in log] == [("root", 1), ("middle", 1), ("leaf", 2)]


@pytest.mark.parametrize(
    ("stopper", "phase", "expected"),
    [
        ("root", 1, [("root", 1)]),
        ("middle", 1, [("root", 1), ("middle", 1)]),
        ("leaf", 2, [("root", 1), ("middle", 1), ("leaf", 2)]),
        ("middle", 3, [("root", 1), ("middle", 1), ("leaf", 2), ("middle", 3)]),
    ],
)
def test_E12_stopPropagation_ends_the_way_of_the_event_at_the_node(stopper, phase, expected):
    root, middle, leaf, log = family()
    node = {"root": root, "middle": middle, "leaf": leaf}[stopper]

    def stop(event):
        if event.eventPhase == phase:
            event.stopPropagation()

    node.addEventListener("test", stop, phase == 1)
    leaf.dispatchEvent(Event("test", bubbles=True))
    assert [entry[:2] for entry in log] == expected


def test_E15_a_parent_that_listens_is_enough_for_the_target_to_be_set():
    root, leaf = EventDispatcher(), EventDispatcher()
    leaf.parent = root
    root.addEventListener("test", lambda event: None)
    event = Event("test")
    leaf.dispatchEvent(event)
    assert event.target is None
    event = Event("test", bubbles=True)
    leaf.dispatchEvent(event)
    assert (event.target, event.currentTarget) == (leaf, root)


def test_a_dispatcher_cannot_be_its_own_ancestor():
    root, leaf = EventDispatcher(), EventDispatcher()
    leaf.parent = root
    with pytest.raises(ValueError, match="#2024"):
        root.parent = root
    with pytest.raises(ValueError, match="#2150"):
        root.parent = leaf
    leaf.parent = None
    root.parent = leaf
    assert root.parent is leaf


def test_a_circle_of_parents_that_a_program_made_itself_ends():
    class Ring(EventDispatcher):
        parent = None

    trace, one, two = Trace(), Ring(), Ring()
    one.parent, two.parent = two, one
    two.addEventListener("test", trace("two"))
    one.dispatchEvent(Event("test", bubbles=True))
    assert trace.lines == ["two"]


def test_E17_the_events_of_a_dispatcher_with_a_target_happen_to_the_target_and_bubble_from_there():
    class Sprite(EventDispatcher):
        pass

    trace, root, child = [], Sprite(), Sprite()
    child.parent = root
    inner = EventDispatcher(child)
    events = []
    inner.addEventListener("test", lambda event: (trace.append("inner"), events.append(event)))
    root.addEventListener("test", lambda event: trace.append(f"root {event.eventPhase}"))
    inner.dispatchEvent(Event("test", bubbles=True))
    assert trace == ["inner", "root 3"]
    assert events[0].target is child
    assert inner.willTrigger("test")


def test_E17_an_object_with_a_dispatcher_inside_is_the_target():
    class Chat:
        def __init__(self):
            self.dispatcher = EventDispatcher(self)

        def __getattr__(self, name):
            return getattr(self.__dict__["dispatcher"], name)

    chat, events = Chat(), []
    chat.addEventListener("test", events.append)
    chat.dispatchEvent(Event("test"))
    assert events[0].target is chat
    assert events[0].currentTarget is chat
    assert isinstance(chat.dispatcher, IEventDispatcher)


def test_E18_a_dispatcher_prints_as_its_class():
    class Chat(EventDispatcher):
        pass

    assert str(EventDispatcher()) == "[object EventDispatcher]"
    assert str(Chat()) == Chat().toString() == "[object Chat]"


def test_a_subclass_need_not_call_the_constructor_of_its_base():
    class Chat(EventDispatcher):
        def __init__(self):
            self.lines = []

    chat, other = Chat(), Chat()
    chat.addEventListener("test", chat.lines.append)
    chat.dispatchEvent(Event("test"))
    other.dispatchEvent(Event("test"))
    assert (len(chat.lines), len(other.lines)) == (1, 0)


@pytest.mark.parametrize("listener", [None, 5, "text", object()])
def test_E19_a_listener_that_is_no_function_is_error_2007(listener):
    with pytest.raises(FlashTypeError) as caught:
        EventDispatcher().addEventListener("test", listener)
    assert str(caught.value) == "TypeError: Error #2007: Parameter listener must be non-null."


def test_E19_no_type_is_error_2007():
    with pytest.raises(TypeError, match="#2007: Parameter type must be non-null"):
        EventDispatcher().addEventListener(None, print)
    with pytest.raises(TypeError, match="#2007: Parameter type must be non-null"):
        Event(None)


def test_E19_a_coroutine_function_is_refused_because_nobody_would_await_it():
    async def listener(event):
        pass

    with pytest.raises(TypeError, match="coroutine function"):
        EventDispatcher().addEventListener("test", listener)


def test_E20_a_weakly_held_function_goes_when_nobody_else_holds_it():
    trace, dispatcher = Trace(), EventDispatcher()
    listener = trace("called")
    dispatcher.addEventListener("test", listener, False, 0, True)
    dispatcher.dispatchEvent(Event("test"))
    del listener
    gc.collect()
    assert not dispatcher.hasEventListener("test")
    event = Event("test")
    dispatcher.dispatchEvent(event)
    assert trace.lines == ["called"]
    assert event.target is None


def test_E20_a_weakly_held_method_lives_as_long_as_its_object():
    class Listener:
        count = 0

        def listen(self, event):
            Listener.count += 1

    listener, dispatcher = Listener(), EventDispatcher()
    dispatcher.addEventListener("test", listener.listen, useWeakReference=True)
    gc.collect()
    dispatcher.dispatchEvent(Event("test"))
    assert Listener.count == 1
    dispatcher.removeEventListener("test", listener.listen)
    assert not dispatcher.hasEventListener("test")
    dispatcher.addEventListener("test", listener.listen, useWeakReference=True)
    del listener
    gc.collect()
    dispatcher.dispatchEvent(Event("test"))
    assert Listener.count == 1
    assert not dispatcher.willTrigger("test")


def test_E20_dead_listeners_do_not_pile_up():
    dispatcher = EventDispatcher()
    for _ in range(100):
        dispatcher.addEventListener("test", lambda event: None, useWeakReference=True)
    assert len(dispatcher._listeners["test"]) == 1


def test_E20_a_strongly_held_listener_stays():
    trace, dispatcher = Trace(), EventDispatcher()
    dispatcher.addEventListener("test", trace("strong"))
    dispatcher.addEventListener("test", trace("weak"), useWeakReference=True)
    gc.collect()
    dispatcher.dispatchEvent(Event("test"))
    assert trace.lines == ["strong"]


def test_E21_activate_and_deactivate_are_ordinary_events_that_a_program_may_dispatch():
    events, dispatcher = [], EventDispatcher()
    dispatcher.addEventListener(Event.ACTIVATE, events.append)
    dispatcher.dispatchEvent(Event(Event.ACTIVATE))
    dispatcher.dispatchEvent(Event(Event.DEACTIVATE))
    assert [event.type for event in events] == ["activate"]


def test_E22_listeners_that_dispatch_for_ever_end_with_an_error_however_many_they_are():
    dispatcher = EventDispatcher()
    for _ in range(3):
        dispatcher.addEventListener("test", lambda event: dispatcher.dispatchEvent(Event("test")))
    with pytest.raises(RecursionError):
        dispatcher.dispatchEvent(Event("test"))


def test_an_error_event_that_nobody_listens_to_is_error_2044(uncaught):
    dispatcher = EventDispatcher()
    event = IOErrorEvent(IOErrorEvent.IO_ERROR, text="Error #2031: Socket Error. URL: localhost", id=2031)
    assert dispatcher.dispatchEvent(event) is True
    ((error, reported),) = uncaught
    assert reported is event
    assert isinstance(error, Error)
    assert error.errorID == 2044
    assert error.message == "Error #2044: Unhandled ioError:. text=Error #2031: Socket Error. URL: localhost"


def test_an_error_event_that_somebody_listens_to_is_not_uncaught(uncaught):
    root, leaf = EventDispatcher(), EventDispatcher()
    leaf.parent = root
    leaf.addEventListener("error", lambda event: None)
    leaf.dispatchEvent(ErrorEvent("error"))
    root.addEventListener("bubbling", lambda event: None)
    leaf.dispatchEvent(ErrorEvent("bubbling", bubbles=True))
    root.addEventListener("captured", lambda event: None, True)
    leaf.dispatchEvent(ErrorEvent("captured"))
    assert uncaught == []
    leaf.dispatchEvent(ErrorEvent("bubbling"))
    assert len(uncaught) == 1


def test_B22_a_dispatch_within_a_dispatch_runs_all_listeners_twice():
    dispatcher, count = EventDispatcher(), []

    def once(event):
        count.append("nesting")
        if len(count) == 1:
            dispatcher.dispatchEvent(Event("test"))

    dispatcher.addEventListener("test", once)
    dispatcher.addEventListener("test", lambda event: count.append("plain"))
    dispatcher.dispatchEvent(Event("test"))
    assert sorted(count) == ["nesting"] * 2 + ["plain"] * 2


def test_B23_the_order_of_handlers_follows_every_change():
    lines, dispatcher = [], EventDispatcher()
    trace = {name: (lambda event, name=name: lines.append(name)) for name in ("one", "two", "three")}
    for name, priority in (("one", 0), ("two", 5), ("three", 0)):
        dispatcher.addEventListener("test", trace[name], False, priority)

    def run():
        lines.clear()
        dispatcher.dispatchEvent(Event("test"))
        return list(lines)

    assert run() == ["two", "one", "three"]
    dispatcher.removeEventListener("test", trace["two"])
    assert run() == ["one", "three"]
    dispatcher.addEventListener("test", trace["two"], True)
    dispatcher.addEventListener("test2", trace["two"])
    assert run() == ["one", "three"]
    dispatcher.addEventListener("test", trace["two"], False, -5)
    assert run() == ["one", "three", "two"]
