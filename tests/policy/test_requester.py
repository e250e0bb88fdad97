"""Who asks, and which rules the player's version brings."""

from __future__ import annotations

import pytest

from xmlsocket.errors import ConfigurationError
from xmlsocket.policy import AllowNetworking, Location, Requester, Sandbox, parse_host, parse_player
from xmlsocket.policy.players import rules_of


@pytest.mark.parametrize(
    ("url", "domain", "scheme", "sandbox"),
    [
        ("http://games.example.com/a.swf", "games.example.com", "http", Sandbox.REMOTE),
        ("HTTPS://User:x@Games.Example.COM:8443/a.swf?q#f", "games.example.com", "https", Sandbox.REMOTE),
        ("http://[2001:DB8::1]:80/a.swf", "2001:db8::1", "http", Sandbox.REMOTE),
        ("file:///C:/a.swf", None, "file", Sandbox.LOCAL_WITH_FILE),
        ("file://server/share/a.swf", None, "file", Sandbox.LOCAL_WITH_FILE),
        ("C:\\movies\\a.swf", None, "file", Sandbox.LOCAL_WITH_FILE),
        ("\\\\server\\share\\a.swf", None, "file", Sandbox.LOCAL_WITH_FILE),
        ("/home/a.swf", None, "file", Sandbox.LOCAL_WITH_FILE),
        ("app:/main.swf", None, "app", Sandbox.APPLICATION),
    ],
)
def test_a_url_tells_domain_scheme_and_usual_sandbox(
    url: str, domain: str | None, scheme: str, sandbox: Sandbox
) -> None:
    requester = Requester.from_url(url)
    assert (requester.domain, requester.scheme, requester.sandbox) == (domain, scheme, sandbox)


def test_the_sandbox_can_be_said() -> None:
    requester = Requester.from_url(
        "file:///a.swf", sandbox=Sandbox.LOCAL_TRUSTED, allow_networking=AllowNetworking.NONE, player=(9,)
    )
    assert requester == Requester(None, "file", Sandbox.LOCAL_TRUSTED, AllowNetworking.NONE, (9,))


@pytest.mark.parametrize("url", ["games.example.com", "", "http:///a.swf", "http://[::1", "games.example.com:80"])
def test_what_has_no_host_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Requester.from_url(url)


def test_an_empty_domain_is_no_domain() -> None:
    assert Requester("").host is None
    assert str(Requester(None)) == "a local file"
    assert str(Requester(None, sandbox=Sandbox.APPLICATION)) == "AIR application content"
    assert str(Requester("WWW.Example.com")) == "www.example.com"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("10", (10,)),
        ("9.0.115", (9, 0, 115)),
        ("7.0r19", (7, 0, 19)),
        ("WIN 9,0,115,0", (9, 0, 115, 0)),
    ],
)
def test_versions_are_read_in_every_spelling(text: str, version: tuple[int, ...]) -> None:
    assert parse_player(text) == version


@pytest.mark.parametrize("text", ["", "x", "9.", "9..1", "9.0.115beta", "-1", "9 0"])
def test_other_spellings_of_a_version_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_player(text)


@pytest.mark.parametrize(
    ("versions", "since"),
    [
        (["5", "5.0", "1"], ()),
        (["6", "6.0.79"], (6,)),
        (["7", "7.0.14", "7.0r18"], (7,)),
        (["7.0.19", "7.0.19.0", "8", "8.0.24"], (7, 0, 19)),
        (["9", "9.0.28", "9.0.114.9"], (9,)),
        (["9.0.115", "9,0,115,0", "9.0.123"], (9, 0, 115)),
        (["9.0.124", "9.0.124.0", "10", "10.1", "32.0.0.465"], (9, 0, 124)),
    ],
)
def test_each_version_follows_the_rules_of_its_row(versions: list[str], since: tuple[int, ...]) -> None:
    assert {rules_of(parse_player(version)).since for version in versions} == {since}


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("xmlsocket://Chat.example.com:2525", Location("chat.example.com", 2525)),
        ("xmlsocket://[::1]:2525", Location(parse_host("::1"), 2525)),
        (
            "http://chat.example.com/crossdomain.xml",
            Location("chat.example.com", 80, "http", "/crossdomain.xml"),
        ),
        ("https://chat.example.com:444", Location("chat.example.com", 444, "https", "/")),
    ],
)
def test_locations_are_read_from_urls(url: str, location: Location) -> None:
    assert Location.parse(url) == location


@pytest.mark.parametrize(
    "url",
    [
        *["xmlsocket://chat.example.com", "xmlsocket://:80", "chat.example.com:80", "gopher://x:1", "xmlsocket://x:0"],
        *["xmlsocket://x:65536", "xmlsocket://x:y", "xmlsocket://[::1:80", ""],
    ],
)
def test_what_is_no_location_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Location.parse(url)
