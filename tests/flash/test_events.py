"""The events in print, their constants and defaults; the exact forms are those that players print."""

from __future__ import annotations

import pytest

from xmlsocket.flash import events
from xmlsocket.flash.events import (
    DataEvent,
    ErrorEvent,
    Event,
    IOErrorEvent,
    ProgressEvent,
    SecurityErrorEvent,
    TextEvent,
)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event(Event.CONNECT), '[Event type="connect" bubbles=false cancelable=false eventPhase=2]'),
        (Event(Event.CLOSE, True, True), '[Event type="close" bubbles=true cancelable=true eventPhase=2]'),
        (
            DataEvent(DataEvent.DATA, data="Hello!"),
            '[DataEvent type="data" bubbles=false cancelable=false eventPhase=2 data="Hello!"]',
        ),
        (
            DataEvent(DataEvent.DATA, data='a "b"\n<c/>'),
            '[DataEvent type="data" bubbles=false cancelable=false eventPhase=2 data="a "b"\n<c/>"]',
        ),
        (
            IOErrorEvent("ioError", False, False, "Error #2031: Socket Error. URL: 127.0.0.1", 2031),
            '[IOErrorEvent type="ioError" bubbles=false cancelable=false eventPhase=2 '
            'text="Error #2031: Socket Error. URL: 127.0.0.1"]',
        ),
        (
            SecurityErrorEvent("securityError", text="Error #2048"),
            '[SecurityErrorEvent type="securityError" bubbles=false cancelable=false eventPhase=2 text="Error #2048"]',
        ),
        (
            ProgressEvent("progress", bytesTotal=334),
            '[ProgressEvent type="progress" bubbles=false cancelable=false eventPhase=2 bytesLoaded=0 bytesTotal=334]',
        ),
        (
            ProgressEvent("socketData", False, False, 78.0, 0.5),
            '[ProgressEvent type="socketData" bubbles=false cancelable=false eventPhase=2 '
            "bytesLoaded=78 bytesTotal=0.5]",
        ),
        (TextEvent("link"), '[TextEvent type="link" bubbles=false cancelable=false eventPhase=2 text=""]'),
        (ErrorEvent("error"), '[ErrorEvent type="error" bubbles=false cancelable=false eventPhase=2 text=""]'),
        (
            DataEvent("data", data=None),
            '[DataEvent type="data" bubbles=false cancelable=false eventPhase=2 data=null]',
        ),
    ],
)
def test_an_event_prints_as_the_player_prints_it(event, text):
    assert str(event) == event.toString() == text


class Dynamic(Event):
    counter = -1

    @property
    def evilProp(self):
        self.counter += 1
        return self.counter


def test_formatToString_quotes_text_only_and_calls_what_is_missing_undefined():
    event = Dynamic("test")
    event.property = "value"
    event.three, event.four, event.five, event.six = True, 0.5, 10, float("nan")
    assert event.formatToString("MyClass") == "[MyClass]"
    assert event.formatToString("MyClass", "property", "property") == '[MyClass property="value" property="value"]'
    assert (
        event.formatToString("MyClass", "three", "four", "five", "six")
        == "[MyClass three=true four=0.5 five=10 six=NaN]"
    )
    assert event.formatToString("MyClass", "evilProp", "evilProp") == "[MyClass evilProp=0 evilProp=1]"
    assert event.formatToString("MyClass", None) == "[MyClass null=undefined]"
    assert event.formatToString("MyClass", "nothing") == "[MyClass nothing=undefined]"
    assert event.formatToString(None, "target") == "[null target=null]"


def test_a_class_of_ones_own_prints_by_its_own_toString():
    class Score(Event):
        def toString(self):
            return self.formatToString("Score", "type")

    assert str(Score("score")) == '[Score type="score"]'


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Event, "CONNECT", "connect"),
        (Event, "CLOSE", "close"),
        (Event, "ACTIVATE", "activate"),
        (Event, "DEACTIVATE", "deactivate"),
        (Event, "FULLSCREEN", "fullScreen"),
        (Event, "ENTER_FRAME", "enterFrame"),
        (DataEvent, "DATA", "data"),
        (DataEvent, "UPLOAD_COMPLETE_DATA", "uploadCompleteData"),
        (IOErrorEvent, "IO_ERROR", "ioError"),
        (IOErrorEvent, "NETWORK_ERROR", "networkError"),
        (IOErrorEvent, "DISK_ERROR", "diskError"),
        (IOErrorEvent, "VERIFY_ERROR", "verifyError"),
        (SecurityErrorEvent, "SECURITY_ERROR", "securityError"),
        (ProgressEvent, "PROGRESS", "progress"),
        (ProgressEvent, "SOCKET_DATA", "socketData"),
        (ErrorEvent, "ERROR", "error"),
        (TextEvent, "LINK", "link"),
        (TextEvent, "TEXT_INPUT", "textInput"),
    ],
)
def test_the_constants_have_adobes_values(kind, name, value):
    assert getattr(kind, name) == value


def test_the_classes_descend_as_adobes_do():
    assert DataEvent.__mro__[1:3] == ErrorEvent.__mro__[1:3] == (TextEvent, Event)
    assert IOErrorEvent.__bases__ == SecurityErrorEvent.__bases__ == (ErrorEvent,)
    assert ProgressEvent.__bases__ == TextEvent.__bases__ == (Event,)


def test_the_defaults_are_adobes():
    for kind in (Event, TextEvent, DataEvent, ErrorEvent, IOErrorEvent, SecurityErrorEvent, ProgressEvent):
        event = kind("x")
        assert (event.type, event.bubbles, event.cancelable) == ("x", False, False)
        assert (event.target, event.currentTarget, event.eventPhase) == (None, None, 2)
    assert (TextEvent("x").text, DataEvent("x").data, IOErrorEvent("x").errorID) == ("", "", 0)
    assert (ProgressEvent("x").bytesLoaded, ProgressEvent("x").bytesTotal) == (0, 0)


def test_data_and_text_of_a_data_event_are_one_value():
    event = DataEvent("data", data="one")
    assert event.text == "one"
    event.text = "two"
    assert event.data == "two"
    event.data = "three"
    assert event.text == "three"


@pytest.mark.parametrize("name", ["type", "bubbles", "cancelable", "target", "currentTarget", "eventPhase"])
def test_what_adobe_documents_as_read_only_is(name):
    with pytest.raises(AttributeError):
        setattr(Event("x"), name, None)


def test_an_event_has_no_other_properties_as_its_class_is_sealed():
    with pytest.raises(AttributeError):
        DataEvent("data").extra = 1


@pytest.mark.parametrize(
    "event",
    [
        Event("x", True, True),
        TextEvent("x", True, True, "text"),
        DataEvent("x", True, True, "data"),
        ErrorEvent("x", True, True, "text", 5),
        IOErrorEvent("x", True, True, "text", 2031),
        SecurityErrorEvent("x", True, True, "text", 2048),
        ProgressEvent("x", True, True, 5, 10),
    ],
)
def test_a_clone_is_a_new_event_of_the_same_class_with_the_same_values(event):
    clone = event.clone()
    assert clone is not event
    assert type(clone) is type(event)
    assert str(clone) == str(event)
    assert getattr(clone, "errorID", 0) == getattr(event, "errorID", 0)


def test_the_module_exports_what_actionscript_imports_from_flash_events():
    assert set(events.__all__) == {
        "DataEvent", "ErrorEvent", "Event", "EventDispatcher", "EventPhase", "IEventDispatcher",
        "IOErrorEvent", "ProgressEvent", "SecurityErrorEvent", "TextEvent",
    }  # fmt: skip
