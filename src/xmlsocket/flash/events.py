"""The kinds of events: what ActionScript programs import from ``flash.events``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .conversion import toString
from .dispatcher import EventDispatcher, EventPhase, IEventDispatcher
from .errors import Error, numbered
from .event import Event

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
