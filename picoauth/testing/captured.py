"""The events of a server, as a test looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

from picoauth.delivery import Events, Prepared
from picoauth.events import Event

E = TypeVar("E", bound=Event)


class Captured(Sequence[Event]):
    """Every event since the server started, or since `clear()`, in the order they came.

    An event is here as soon as the change that it tells of is committed, so it is there when
    the answer of a request is. What plugins do about it in their hook `on` comes later: await
    `settle()` before you look at that.
    """

    def __init__(self, events: Events) -> None:
        self.events = events
        self.heard: list[Event] = []
        tell = events.tell

        def told(prepared: Prepared) -> None:
            self.heard.append(prepared.event)
            tell(prepared)

        # A listener would hear of an event in a task of its own, some time after the answer.
        events.tell = told  # type: ignore[method-assign]

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self.heard[index]

    def __len__(self) -> int:
        return len(self.heard)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.heard)

    def __repr__(self) -> str:
        return repr(self.heard)

    def of(self, kind: type[E]) -> list[E]:
        """Those of one type."""
        return [event for event in self.heard if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        """The only one of its type; AssertionError where there are more, or none."""
        found = self.of(kind)
        names = ", ".join(type(event).__name__ for event in self.heard) or "nothing"
        assert 1 == len(found), f"{len(found)} x {kind.__name__}, of: {names}"
        return found[0]

    def clear(self) -> None:
        """Forget what came so far."""
        self.heard.clear()

    async def settle(self) -> None:
        """Wait until every plugin was told, and is done with it."""
        await self.events.settle()
