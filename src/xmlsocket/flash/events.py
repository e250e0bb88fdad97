"""The kinds of events: what ActionScript programs import from ``flash.events``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .conversion import toString
from .dispatcher import EventDispatcher, EventPhase, IEventDispatcher
from .errors import Error, numbered

__all__ = [
    "DataEvent",
    "ErrorEvent",
    "Event",
    "EventDispatcher",
    "EventPhase",
    "IEventDispatcher",
    "IOErrorEvent",
    "ProgressEvent",
    "SecurityErrorEvent",
    "TextEvent",
]


class Event:
    """Something that happened.

    The constants are Adobe's names of events. Of them a socket has ``CONNECT`` and ``CLOSE``; nothing here dispatches
    the others, but a program may.

    Args:
        type: Name of the event; listeners are registered for a name.
        bubbles: Whether it travels up through the parents of its target afterwards.
        cancelable: Whether :meth:`preventDefault` has an effect.
    """

    ACTIVATE: Final = "activate"
    ADDED: Final = "added"
    ADDED_TO_STAGE: Final = "addedToStage"
    BROWSER_ZOOM_CHANGE: Final = "browserZoomChange"
    CANCEL: Final = "cancel"
    CHANGE: Final = "change"
    CHANNEL_MESSAGE: Final = "channelMessage"
    CHANNEL_STATE: Final = "channelState"
    CLEAR: Final = "clear"
    CLOSE: Final = "close"
    CLOSING: Final = "closing"
    COMPLETE: Final = "complete"
    CONNECT: Final = "connect"
    CONTEXT3D_CREATE: Final = "context3DCreate"
    COPY: Final = "copy"
    CUT: Final = "cut"
    DEACTIVATE: Final = "deactivate"
    DISPLAYING: Final = "displaying"
    ENTER_FRAME: Final = "enterFrame"
    EXITING: Final = "exiting"
    EXIT_FRAME: Final = "exitFrame"
    FRAME_CONSTRUCTED: Final = "frameConstructed"
    FRAME_LABEL: Final = "frameLabel"
    FULLSCREEN: Final = "fullScreen"
    HTML_BOUNDS_CHANGE: Final = "htmlBoundsChange"
    HTML_DOM_INITIALIZE: Final = "htmlDOMInitialize"
    HTML_RENDER: Final = "htmlRender"
    ID3: Final = "id3"
    INIT: Final = "init"
    LOCATION_CHANGE: Final = "locationChange"
    MOUSE_LEAVE: Final = "mouseLeave"
    NETWORK_CHANGE: Final = "networkChange"
    OPEN: Final = "open"
    PASTE: Final = "paste"
    PREPARING: Final = "preparing"
    REMOVED: Final = "removed"
    REMOVED_FROM_STAGE: Final = "removedFromStage"
    RENDER: Final = "render"
    RESIZE: Final = "resize"
    SCROLL: Final = "scroll"
    SELECT: Final = "select"
    SELECT_ALL: Final = "selectAll"
    SOUND_COMPLETE: Final = "soundComplete"
    STANDARD_ERROR_CLOSE: Final = "standardErrorClose"
    STANDARD_INPUT_CLOSE: Final = "standardInputClose"
    STANDARD_OUTPUT_CLOSE: Final = "standardOutputClose"
    SUSPEND: Final = "suspend"
    TAB_CHILDREN_CHANGE: Final = "tabChildrenChange"
    TAB_ENABLED_CHANGE: Final = "tabEnabledChange"
    TAB_INDEX_CHANGE: Final = "tabIndexChange"
    TEXTURE_READY: Final = "textureReady"
    TEXT_INTERACTION_MODE_CHANGE: Final = "textInteractionModeChange"
    UNLOAD: Final = "unload"
    USER_IDLE: Final = "userIdle"
    USER_PRESENT: Final = "userPresent"
    VIDEO_FRAME: Final = "videoFrame"
    WORKER_STATE: Final = "workerState"

    __slots__ = (
        "_bubbles",
        "_cancelable",
        "_currentTarget",
        "_isDefaultPrevented",
        "_phase",
        "_stopped",
        "_target",
        "_type",
    )

    def __init__(self, type: str, bubbles: bool = False, cancelable: bool = False) -> None:
        if type is None:
            raise numbered(2007, "type")
        self._type = type
        self._bubbles = bubbles
        self._cancelable = cancelable
        self._target: IEventDispatcher | None = None
        self._currentTarget: IEventDispatcher | None = None
        self._phase: int = EventPhase.AT_TARGET
        self._isDefaultPrevented = False
        self._stopped = 0  # 1: go to no other node, 2: run no other listener

    @property
    def type(self) -> str:
        """Name of the event."""
        return self._type

    @property
    def bubbles(self) -> bool:
        """Whether it travels up through the parents of its target."""
        return self._bubbles

    @property
    def cancelable(self) -> bool:
        """Whether :meth:`preventDefault` has an effect."""
        return self._cancelable

    @property
    def target(self) -> IEventDispatcher | None:
        """Who it happened to; ``None`` until some listener got it, and kept afterwards."""
        return self._target

    @property
    def currentTarget(self) -> IEventDispatcher | None:
        """Whose listeners are running, or ran last."""
        return self._currentTarget

    @property
    def eventPhase(self) -> int:
        """One of the constants of :class:`EventPhase`."""
        return self._phase

    def clone(self) -> Event:
        """Make a fresh copy; called when an event that was handled is dispatched again.

        A class of your own must override it. Otherwise the copy is a plain event of the nearest class of Adobe's, as in
        the player.
        """
        return Event(self.type, self.bubbles, self.cancelable)

    def preventDefault(self) -> None:
        """Ask for what would happen next not to happen; no effect on an event that is not cancelable."""
        if self._cancelable:
            self._isDefaultPrevented = True

    def isDefaultPrevented(self) -> bool:
        """Whether :meth:`preventDefault` was called with effect."""
        return self._isDefaultPrevented

    def stopPropagation(self) -> None:
        """Go to no other node; the remaining listeners of the current one still run."""
        self._stopped = max(self._stopped, 1)

    def stopImmediatePropagation(self) -> None:
        """Run no other listener at all."""
        self._stopped = 2

    def formatToString(self, className: str, *arguments: str) -> str:
        """Write ``[className name=value ...]`` for properties of this event.

        Text stands in double quotes and nothing in it is escaped. A property that does not exist is ``undefined``.
        """
        return f"[{' '.join((toString(className), *(self._format(name) for name in arguments)))}]"

    def _format(self, name: object) -> str:
        value = getattr(self, toString(name), _UNDEFINED)
        return f'{toString(name)}="{value}"' if isinstance(value, str) else f"{toString(name)}={toString(value)}"

    def toString(self) -> str:
        """The event in print; ``str(event)`` is the same."""
        return self.formatToString("Event", "type", "bubbles", "cancelable", "eventPhase")

    def __str__(self) -> str:
        return self.toString()

    def __repr__(self) -> str:
        return f"<{self.toString()}>"

    def _as_uncaught(self) -> Error | None:
        """What it becomes when nobody listens; ``None`` for all but error events."""
        return None


class _Undefined:
    """ActionScript's ``undefined``, which only exists in print here."""

    __slots__ = ()

    def __str__(self) -> str:
        return "undefined"


_UNDEFINED: Final = _Undefined()


class TextEvent(Event):
    """An event with a text.

    Args:
        type: Name of the event.
        bubbles: See :class:`Event`.
        cancelable: See :class:`Event`.
        text: The text; it can be changed.
    """

    LINK: Final = "link"
    TEXT_INPUT: Final = "textInput"

    __slots__ = ("text",)

    def __init__(
        self,
        type: str,
        bubbles: bool = False,
        cancelable: bool = False,
        text: str = "",
    ) -> None:
        super().__init__(type, bubbles, cancelable)
        self.text = text

    def clone(self) -> Event:
        return TextEvent(self.type, self.bubbles, self.cancelable, self.text)

    def toString(self) -> str:
        return self.formatToString("TextEvent", "type", "bubbles", "cancelable", "eventPhase", "text")


class DataEvent(TextEvent):
    """A message has arrived whole.

    Args:
        type: ``DataEvent.DATA``.
        bubbles: See :class:`Event`.
        cancelable: See :class:`Event`.
        data: The message, without the zero byte that ended it.
    """

    DATA: Final = "data"
    UPLOAD_COMPLETE_DATA: Final = "uploadCompleteData"

    __slots__ = ()

    def __init__(
        self,
        type: str,
        bubbles: bool = False,
        cancelable: bool = False,
        data: str = "",
    ) -> None:
        super().__init__(type, bubbles, cancelable, data)

    data: str = TextEvent.__dict__["text"]
    """The message; the same value as ``text``, under another name."""

    def clone(self) -> Event:
        return DataEvent(self.type, self.bubbles, self.cancelable, self.data)

    def toString(self) -> str:
        return self.formatToString("DataEvent", "type", "bubbles", "cancelable", "eventPhase", "data")


def make_data_event(
    data: str, target: IEventDispatcher, _new: Callable[[type[DataEvent]], DataEvent] = object.__new__
) -> DataEvent:
    """Make the event of a message that arrived, on its way already: ``DataEvent("data", False, False, data)``.

    One is made for every message, and the three constructors would take twice as long.
    """
    event = _new(DataEvent)
    event._type = "data"
    event._bubbles = False
    event._cancelable = False
    event._target = target
    event._currentTarget = target
    event._phase = 2
    event._isDefaultPrevented = False
    event._stopped = 0
    event.text = data
    return event


class ErrorEvent(TextEvent):
    """Something failed. If nobody listens to it, it becomes an uncaught error.

    Args:
        type: ``ErrorEvent.ERROR``.
        bubbles: See :class:`Event`.
        cancelable: See :class:`Event`.
        text: What to show; of Adobe's errors ``Error #NNNN: ...``.
        id: Number of the error, 0 for none.
    """

    ERROR: Final = "error"

    __slots__ = ("_errorID",)

    def __init__(
        self,
        type: str,
        bubbles: bool = False,
        cancelable: bool = False,
        text: str = "",
        id: int = 0,
    ) -> None:
        super().__init__(type, bubbles, cancelable, text)
        self._errorID = id

    @property
    def errorID(self) -> int:
        """Number of the error in Adobe's list, or 0."""
        return self._errorID

    def clone(self) -> Event:
        return ErrorEvent(self.type, self.bubbles, self.cancelable, self.text, self.errorID)

    def toString(self) -> str:
        return self.formatToString("ErrorEvent", "type", "bubbles", "cancelable", "eventPhase", "text")

    def _as_uncaught(self) -> Error:
        error = numbered(2044, self.type)
        return Error(f"{error.message} text={toString(self.text)}", error.errorID)


class IOErrorEvent(ErrorEvent):
    """Input or output failed: no connection came to be, or one was lost. Arguments as of :class:`ErrorEvent`."""

    DISK_ERROR: Final = "diskError"
    IO_ERROR: Final = "ioError"
    NETWORK_ERROR: Final = "networkError"
    STANDARD_ERROR_IO_ERROR: Final = "standardErrorIoError"
    STANDARD_INPUT_IO_ERROR: Final = "standardInputIoError"
    STANDARD_OUTPUT_IO_ERROR: Final = "standardOutputIoError"
    VERIFY_ERROR: Final = "verifyError"

    __slots__ = ()

    def clone(self) -> Event:
        return IOErrorEvent(self.type, self.bubbles, self.cancelable, self.text, self.errorID)

    def toString(self) -> str:
        return self.formatToString("IOErrorEvent", "type", "bubbles", "cancelable", "eventPhase", "text")


class SecurityErrorEvent(ErrorEvent):
    """The sandbox forbids it. Arguments as of :class:`ErrorEvent`."""

    SECURITY_ERROR: Final = "securityError"

    __slots__ = ()

    def clone(self) -> Event:
        return SecurityErrorEvent(self.type, self.bubbles, self.cancelable, self.text, self.errorID)

    def toString(self) -> str:
        return self.formatToString("SecurityErrorEvent", "type", "bubbles", "cancelable", "eventPhase", "text")


class ProgressEvent(Event):
    """Some bytes of many have arrived. No XMLSocket dispatches it, though Adobe's example listens to it.

    Args:
        type: ``ProgressEvent.PROGRESS`` or ``ProgressEvent.SOCKET_DATA``.
        bubbles: See :class:`Event`.
        cancelable: See :class:`Event`.
        bytesLoaded: Bytes so far; it can be changed.
        bytesTotal: Bytes in the end, 0 if unknown; it can be changed.
    """

    PROGRESS: Final = "progress"
    SOCKET_DATA: Final = "socketData"
    STANDARD_ERROR_DATA: Final = "standardErrorData"
    STANDARD_INPUT_PROGRESS: Final = "standardInputProgress"
    STANDARD_OUTPUT_DATA: Final = "standardOutputData"

    __slots__ = ("bytesLoaded", "bytesTotal")

    def __init__(
        self,
        type: str,
        bubbles: bool = False,
        cancelable: bool = False,
        bytesLoaded: float = 0,
        bytesTotal: float = 0,
    ) -> None:
        super().__init__(type, bubbles, cancelable)
        self.bytesLoaded = bytesLoaded
        self.bytesTotal = bytesTotal

    def clone(self) -> Event:
        return ProgressEvent(self.type, self.bubbles, self.cancelable, self.bytesLoaded, self.bytesTotal)

    def toString(self) -> str:
        return self.formatToString(
            "ProgressEvent", "type", "bubbles", "cancelable", "eventPhase", "bytesLoaded", "bytesTotal"
        )
