"""How an event travels: from the outermost parent down to its target and, if it bubbles, up again.

Most dispatchers have no parent; then an event just runs the listeners of its target. The rules are those of Adobe's
reference and of the players, also where they surprise: see :meth:`EventDispatcher.dispatchEvent`.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinMethodType, MappingProxyType, MethodType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from .conversion import toInt32
from .errors import numbered
from .objects import Object
from .uncaught import report

if TYPE_CHECKING:
    from .event import Event

Listener: TypeAlias = "Callable[[Any], object]"
"""What an event is passed to. Its result is ignored."""


class EventPhase:
    """Where an event is on its way; the values of ``Event.eventPhase``."""

    CAPTURING_PHASE: Final = 1
    AT_TARGET: Final = 2
    BUBBLING_PHASE: Final = 3


@runtime_checkable
class IEventDispatcher(Protocol):
    """What has listeners. :class:`EventDispatcher` is one; others usually keep one inside and pass themselves to it."""

    def addEventListener(
        self,
        type: str,
        listener: Listener,
        useCapture: bool = False,
        priority: int = 0,
        useWeakReference: bool = False,
    ) -> None:
        """See :meth:`EventDispatcher.addEventListener`."""

    def dispatchEvent(self, event: Event) -> bool:
        """See :meth:`EventDispatcher.dispatchEvent`."""

    def hasEventListener(self, type: str) -> bool:
        """See :meth:`EventDispatcher.hasEventListener`."""

    def removeEventListener(self, type: str, listener: Listener, useCapture: bool = False) -> None:
        """See :meth:`EventDispatcher.removeEventListener`."""

    def willTrigger(self, type: str) -> bool:
        """See :meth:`EventDispatcher.willTrigger`."""


class _Registration:
    """One listener for one type and phase. ``call`` is the listener itself where it is held strongly."""

    __slots__ = ("_reference", "call", "priority")

    def __init__(self, listener: Listener, priority: int, is_weak: bool) -> None:
        self.priority = priority
        self._reference = _refer(listener) if is_weak else None
        self.call: Listener = self._call_weakly if self._reference else listener

    def _call_weakly(self, event: Event) -> None:
        listener = self.listener
        if listener is not None:
            listener(event)

    @property
    def listener(self) -> Listener | None:
        """The listener, or ``None`` once a weakly held one has gone."""
        return self._reference() if self._reference else self.call

    def is_for(self, listener: Listener) -> bool:
        """Whether it registers this listener. A bound method is a new object each time it is read, yet the same one."""
        own = self.listener
        return own is listener or (isinstance(own, (MethodType, BuiltinMethodType)) and own == listener)


def _refer(listener: Listener) -> Callable[[], Listener | None] | None:
    try:
        # The object of a bound method is what must stay alive, for the method itself is gone at once.
        return weakref.WeakMethod(listener) if isinstance(listener, MethodType) else weakref.ref(listener)
    except TypeError:
        return None  # what Python cannot refer to weakly is held strongly


_Registrations: TypeAlias = "Mapping[str, tuple[_Registration, ...]]"
_NONE: Final[_Registrations] = MappingProxyType({})


class EventDispatcher(Object):
    """Keeps listeners and runs them.

    A subclass need not call ``super().__init__()``, as in ActionScript, where that happens by itself.

    Args:
        target: Who the events happen to, for an object that has a dispatcher inside instead of being one.
    """

    # Never changed in place, always replaced: so what is being dispatched keeps what it began with, and a subclass
    # that does not call __init__ begins with these.
    _listeners: _Registrations = _NONE
    _capturing: _Registrations = _NONE
    _has_weak = False
    # Whether an event made for this dispatcher needs nothing but its listeners run: no parents, no target apart from
    # it, no listener that may have gone, no way of dispatching of the program's own. Once false it stays so.
    _is_direct = True
    _represented: IEventDispatcher | None = None
    _parent: EventDispatcher | None = None

    def __init__(self, target: IEventDispatcher | None = None) -> None:
        if target is not None:
            self._represented = target
            self._is_direct = False

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if cls.dispatchEvent is not EventDispatcher.dispatchEvent or cls.parent is not EventDispatcher.parent:
            cls._is_direct = False

    @property
    def parent(self) -> EventDispatcher | None:
        """The dispatcher that this one is part of: its listeners see the events of this one on their way.

        In the player only objects on the display list have one. Here any dispatcher can be given one; nothing sets it
        by itself.

        Raises:
            ArgumentError: This dispatcher would be inside itself (number 2024 or 2150).
        """
        return self._parent

    @parent.setter
    def parent(self, parent: EventDispatcher | None) -> None:
        if parent is self:
            raise numbered(2024)
        if parent is not None and self in _ancestors(parent):
            raise numbered(2150)
        self._parent = parent
        self._is_direct = False

    def addEventListener(
        self,
        type: str,
        listener: Listener,
        useCapture: bool = False,
        priority: int = 0,
        useWeakReference: bool = False,
    ) -> None:
        """Have a function called with each event of a type.

        Nothing happens if the same listener is there already for the type and phase: the first priority stays. A
        listener that is added while an event is dispatched does not get that event.

        Args:
            type: Name of the event.
            listener: A function of one argument. Not a coroutine function, for nobody would await it.
            useCapture: Run in the capturing phase of events of others inside this one, and only then.
            priority: Higher ones first, equal ones in the order of registration; 32 bits with sign.
            useWeakReference: Do not keep the listener alive; for a method, do not keep its object alive.

        Raises:
            TypeError: The type or listener is ``None``, or the listener is no function (number 2007).
        """
        if type is None:
            raise numbered(2007, "type")
        if not callable(listener):
            raise numbered(2007, "listener")
        if inspect.iscoroutinefunction(listener):
            raise TypeError(
                f"the listener {listener!r} is a coroutine function, and nobody would await what it returns; "
                "register a function that starts a task with it"
            )
        listeners = self._of_phase(useCapture)
        current = self._living(listeners, type)
        if any(registration.is_for(listener) for registration in current):
            return
        added = (*current, _Registration(listener, toInt32(priority), useWeakReference))
        # sorted() keeps the order of equal ones.
        self._replace(useCapture, type, sorted(added, key=lambda registration: -registration.priority))
        if useWeakReference:
            self._has_weak = True
            self._is_direct = False

    def removeEventListener(self, type: str, listener: Listener, useCapture: bool = False) -> None:
        """Undo :meth:`addEventListener`; nothing happens if there is no such listener.

        One that is removed while an event is dispatched still gets that event, as Adobe documents.
        """
        current = self._of_phase(useCapture).get(type, ())
        remaining = [registration for registration in current if not registration.is_for(listener)]
        if len(remaining) != len(current):
            self._replace(useCapture, type, remaining)

    def hasEventListener(self, type: str) -> bool:
        """Whether a listener for the type is registered here, for whichever phase."""
        return bool(self._living(self._listeners, type) or self._living(self._capturing, type))

    def willTrigger(self, type: str) -> bool:
        """Whether a listener for the type is registered here or with a parent."""
        target = self if self._represented is None else self._represented
        return any(node.hasEventListener(type) for node in (self, *_ancestors(getattr(target, "parent", None))))

    def dispatchEvent(self, event: Event) -> bool:
        """Run the listeners of an event, each with the event as its argument.

        Listeners that raise do not stop the others: the exception goes to the handler of uncaught errors (see
        :func:`~xmlsocket.flash.setUncaughtErrorHandler`). So does an error event that nobody listens to. Only a
        ``RecursionError`` comes through, so that listeners that dispatch for ever end.

        An event that some listener has got before is not sent again: its :meth:`Event.clone` is.

        Returns:
            ``False`` if a listener called ``preventDefault()`` on a cancelable event.

        Raises:
            TypeError: There is no event, or ``clone()`` returned none (number 2007).
        """
        if event is None:
            raise numbered(2007, "event")
        target = event.target  # once, for a class of your own may compute it
        if target is not None and (isinstance(target, EventDispatcher) or target):
            event = event.clone()
            if event is None:
                raise numbered(2007, "event")
        origin = self if self._represented is None else self._represented
        parent = getattr(origin, "parent", None)
        if parent is None:
            is_handled = self._run(self._listeners, event, origin, origin)
        else:
            is_handled = self._flow(event, origin, _ancestors(parent))
        if not is_handled and (error := event._as_uncaught()) is not None:
            report(error, event)
        return not event._isDefaultPrevented

    def _flow(self, event: Event, origin: IEventDispatcher, ancestors: list[EventDispatcher]) -> bool:
        try:
            return self._travel(event, origin, ancestors)
        finally:
            event._phase = EventPhase.AT_TARGET

    def _travel(self, event: Event, origin: IEventDispatcher, ancestors: list[EventDispatcher]) -> bool:
        is_handled = False
        event._phase = EventPhase.CAPTURING_PHASE
        for node in reversed(ancestors):
            is_handled |= node._run(node._capturing, event, origin, node)
            if event._stopped:
                return is_handled
        event._phase = EventPhase.AT_TARGET
        is_handled |= self._run(self._listeners, event, origin, origin)
        event._phase = EventPhase.BUBBLING_PHASE
        for node in ancestors if event._bubbles else ():
            if event._stopped:
                return is_handled
            is_handled |= node._run(node._listeners, event, origin, node)
        return is_handled

    def _run(
        self, listeners: _Registrations, event: Event, origin: IEventDispatcher, current: IEventDispatcher
    ) -> bool:
        """Run the listeners of one node; says whether there were any."""
        registrations = listeners.get(event._type)
        if self._has_weak and registrations:
            registrations = self._living(listeners, event._type)
        if not registrations:
            return False
        event._target = origin
        event._currentTarget = current
        for registration in registrations:
            try:
                registration.call(event)
            except RecursionError:
                raise  # going on would run every branch of an endless tree of dispatches
            except Exception as error:
                report(error, event)
            if event._stopped == 2:
                break
        return True

    def _living(self, listeners: _Registrations, type: str) -> tuple[_Registration, ...]:
        registrations = listeners.get(type, ())
        if self._has_weak:
            return tuple(registration for registration in registrations if registration.listener is not None)
        return registrations

    def _of_phase(self, useCapture: bool) -> _Registrations:
        return self._capturing if useCapture else self._listeners

    def _replace(self, useCapture: bool, type: str, registrations: Iterable[_Registration]) -> None:
        changed = {**self._of_phase(useCapture), type: tuple(registrations)}
        if not changed[type]:
            del changed[type]
        if useCapture:
            self._capturing = changed
        else:
            self._listeners = changed


def _ancestors(parent: object) -> list[EventDispatcher]:
    """Go up from a parent, nearest first, as far as there are dispatchers."""
    nodes: list[EventDispatcher] = []
    # A class that defines parent in its own way may close a circle, and nobody is twice on the way of an event.
    while isinstance(parent, EventDispatcher) and all(node is not parent for node in nodes):
        nodes.append(parent)
        parent = parent.parent
    return nodes
