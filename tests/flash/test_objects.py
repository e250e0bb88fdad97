"""What the class reference lists as inherited from Object."""

from __future__ import annotations

from xmlsocket.flash import XMLSocket
from xmlsocket.flash.events import EventDispatcher


class Chat(XMLSocket):
    room = "lobby"


def test_an_object_knows_its_class_and_is_its_own_value():
    chat = Chat()
    assert chat.constructor is Chat
    assert chat.valueOf() is chat
    assert chat.toString() == "[object Chat]"


def test_hasOwnProperty_finds_members_of_the_class_and_of_the_object_but_not_those_of_Object():
    chat = Chat()
    chat.nick = "bob"
    for name in ("connect", "connected", "addEventListener", "room", "nick"):
        assert chat.hasOwnProperty(name)
    for name in ("toString", "hasOwnProperty", "nothing", "_link", "__init__"):
        assert not chat.hasOwnProperty(name)


def test_only_what_was_added_to_the_object_is_enumerable_until_it_is_taken_out():
    dispatcher = EventDispatcher()
    dispatcher.nick = "bob"
    assert dispatcher.propertyIsEnumerable("nick")
    assert not dispatcher.propertyIsEnumerable("addEventListener")
    assert not dispatcher.propertyIsEnumerable("nothing")
    dispatcher.setPropertyIsEnumerable("nick", False)
    assert not dispatcher.propertyIsEnumerable("nick")
    dispatcher.setPropertyIsEnumerable("nick")
    assert dispatcher.propertyIsEnumerable("nick")


def test_no_object_is_a_prototype():
    chat = Chat()
    assert not chat.isPrototypeOf(Chat)
    assert not chat.isPrototypeOf(Chat())
