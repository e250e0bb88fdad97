from __future__ import annotations

import asyncio

import pytest
from tests.apps.conversation import client_of, serving

from xmlsocket import ConfigurationError, Handler
from xmlsocket.apps import APPS, Chat, Echo, Relay, find
from xmlsocket.limits import LimitSet
from xmlsocket.rooms import MemoryBroker


def test_every_application_is_found_by_its_name() -> None:
    assert {app.name: app.make for app in APPS} == {"chat": Chat, "relay": Relay, "echo": Echo}
    for app in APPS:
        assert find(app.name) is app


def test_a_name_that_is_nearly_right_is_corrected() -> None:
    with pytest.raises(ConfigurationError, match=r"no application called 'chatt'; did you mean chat\?"):
        find("chatt")
    with pytest.raises(ConfigurationError, match="there are chat, relay, echo"):
        find("zzz")


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_an_application_is_made_with_what_its_description_says(app: object) -> None:
    found = find(app.name)  # type: ignore[attr-defined]  # the parameters of pytest have no types
    keywords: dict[str, object] = {keyword: limits() for keyword, limits in found.limits.items()}
    assert all(isinstance(limits, LimitSet) for limits in keywords.values())
    if found.has_rooms:
        keywords["broker"] = MemoryBroker()
    assert isinstance(found.make(**keywords), Handler)
    assert isinstance(found.make(), Handler)
    assert "\n" not in found.summary


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_an_application_is_served_with_its_options(app: object) -> None:
    found = find(app.name)  # type: ignore[attr-defined]  # the parameters of pytest have no types

    async def scene() -> None:
        options = {name: value for name, value in found.options.items() if name != "encoding"}
        handler = found.make()
        async with serving(handler, **options) as server, client_of(server) as client:
            assert (await client.ask("<ping/>")) in ("<ping/>", "<pong/>")
            await handler.drain()

    asyncio.run(scene())
