"""What every ActionScript object can do, as far as it means anything to a Python object."""

from __future__ import annotations

from typing import Self

from .conversion import object_to_text


class Object:
    """ActionScript's ``Object``. What classes define never shows in loops there; what is added to an object does."""

    @property
    def constructor(self) -> type[Self]:
        """The class of the object."""
        return type(self)

    def hasOwnProperty(self, name: str) -> bool:
        """Whether the object or its class has a public member of that name; those of this class do not count."""
        if name.startswith("_"):
            return False
        return name in self.__dict__ or any(name in vars(cls) for cls in type(self).__mro__ if cls not in _ROOTS)

    def isPrototypeOf(self, theClass: object) -> bool:
        """Always ``False``: objects of classes are nobody's prototype; Python programs ask ``isinstance``."""
        return False

    def propertyIsEnumerable(self, name: str) -> bool:
        """Whether a property was added to the object, and not taken out of loops since."""
        return not name.startswith("_") and name in self.__dict__ and name not in self.__dict__.get("_hidden", ())

    def setPropertyIsEnumerable(self, name: str, isEnum: bool = True) -> None:
        """Take an added property out of loops, or back in; only :meth:`propertyIsEnumerable` tells the difference."""
        hidden: set[str] = self.__dict__.setdefault("_hidden", set())
        if isEnum:
            hidden.discard(name)
        else:
            hidden.add(name)

    def toString(self) -> str:
        """``[object ClassName]``; ``str(object)`` is the same."""
        return object_to_text(self)

    def valueOf(self) -> Self:
        """The object itself."""
        return self

    def __str__(self) -> str:
        return self.toString()


_ROOTS = (Object, object)
