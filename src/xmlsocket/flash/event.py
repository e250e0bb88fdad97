"""What an event is; its kinds are in :mod:`xmlsocket.flash.events`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .conversion import toString
from .dispatcher import EventPhase
from .errors import Error, numbered

if TYPE_CHECKING:
    from .dispatcher import IEventDispatcher


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
