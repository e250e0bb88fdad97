"""Who may connect where: the sandboxes over real sockets, and ``Security``."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.flash.scripted import Log, free_port, idle, scripted_server, watch

from xmlsocket import ConfigurationError
from xmlsocket.flash import Content, Security, XMLSocket, avm1
from xmlsocket.flash.errors import ArgumentError, SecurityError
from xmlsocket.flash.errors import TypeError as FlashTypeError
from xmlsocket.limits import PolicyLimits
from xmlsocket.net.policy_client import PolicyClient

MOVIE = "http://127.0.0.1/movie.swf"


def grant(ports, domain="127.0.0.1"):
    return f'<cross-domain-policy><allow-access-from domain="{domain}" to-ports="{ports}"/></cross-domain-policy>'


@contextlib.asynccontextmanager
async def game(policy=None):
    """A server that answers a policy request on its port if it has a policy, and else echoes one message."""
    asked = []

    async def script(peer):
        try:
            message = await peer.read_message()
        except asyncio.IncompleteReadError:
            return
        if message == b"<policy-file-request/>":
            asked.append(message)
            if policy is not None:
                await peer.send(policy.encode() + b"\0", 7)
        else:
            await peer.send(message + b"\0")
        await peer.disconnect()

    async with scripted_server(script) as port:
        yield port, asked


def client():
    """A session that finds nobody on port 843 and reaches every other port."""

    async def dial(address, port):
        if port == 843:
            raise ConnectionRefusedError
        return await asyncio.open_connection(address, port)

    return PolicyClient(PolicyLimits(policy_timeout=10.0), dial=dial)


async def play(content, port, host="127.0.0.1"):
    log = Log()
    with content:
        xml_socket = watch(XMLSocket(), log)
    xml_socket.addEventListener("connect", lambda event: xml_socket.send("hello"))
    xml_socket.connect(host, port)
    await idle()
    return log


CONNECTED = ["connect", "data hello", "close"]


def test_a_policy_on_the_destination_port_lets_the_movie_connect(runner):
    async def main():
        async with game(grant("*")) as (port, asked):
            content = Content(MOVIE, policyClient=client())
            assert await play(content, port) == CONNECTED
            assert await play(content, port) == CONNECTED
            assert len(asked) == 1  # a content is one session

    runner(main())


@pytest.mark.parametrize("policy", [None, "rubbish", grant("1-1023"), grant("*", "other.example")])
def test_without_a_grant_there_is_only_a_securityError(policy, runner):
    async def main():
        async with game(policy) as (port, _):
            assert await play(Content(MOVIE, policyClient=client()), port) == ["securityError"]

    runner(main())


def test_a_location_named_with_loadPolicyFile_is_asked_when_a_connection_needs_it():
    async def main():
        async with game(grant("*")) as (policy_port, asked), game() as (port, _):
            content = Content(MOVIE, policyClient=client())
            with content:
                Security.loadPolicyFile(f"xmlsocket://127.0.0.1:{policy_port}")
            assert asked == []
            assert await play(content, port) == CONNECTED
            assert len(asked) == 1
            assert await play(Content(MOVIE, policyClient=client()), port) == ["securityError"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "sandbox"),
    [("app:/main.swf", None), ("file:///movie.swf", "localTrusted"), (MOVIE, "localTrusted"), (MOVIE, "application")],
)
def test_trusted_content_asks_nobody(url, sandbox):
    async def main():
        async with game() as (port, asked):
            content = Content(url, sandboxType=sandbox, policyClient=client())
            assert await play(content, port) == CONNECTED
            assert asked == []

    asyncio.run(main())


def test_local_content_with_network_needs_a_grant_for_everybody():
    async def main():
        for domain, expected in (("*", CONNECTED), ("127.0.0.1", ["securityError"])):
            async with game(grant("*", domain)) as (port, _):
                content = Content("file:///m.swf", sandboxType="localWithNetwork", policyClient=client())
                assert await play(content, port) == expected

    asyncio.run(main())


def test_players_before_9_0_115_let_a_movie_connect_to_its_own_host_without_a_policy():
    async def main():
        async with game() as (port, asked):
            content = Content(MOVIE, player="9.0.47", policyClient=client())
            assert await play(content, port) == CONNECTED
            assert await play(content, port, None) == CONNECTED
            assert asked == []
            assert await play(content, 1) == ["securityError"]  # below 1024
            other = Content("http://other.example/m.swf", player="9.0.47", policyClient=client())
            assert await play(other, port) == ["securityError"]
            assert len(asked) == 1

    asyncio.run(main())


def test_permission_without_a_server_behind_it_is_an_ioError():
    async def main():
        async with game(grant("1024-65535")) as (policy_port, _):
            content = Content(MOVIE, policyClient=client())
            with content:
                Security.loadPolicyFile(f"xmlsocket://127.0.0.1:{policy_port}")
            assert await play(content, free_port()) == ["ioError"]

    asyncio.run(main())


def test_close_while_policies_are_asked_for_is_silent():
    async def main():
        async def script(peer):
            await peer.read_message()
            await peer.wait_for_disconnect()

        log = Log()
        async with scripted_server(script) as port:
            with Content(MOVIE, policyClient=client()):
                xml_socket = watch(XMLSocket("127.0.0.1", port), log)
            for _ in range(50):
                await asyncio.sleep(0)
            xml_socket.close()
            await idle()
        assert log == []

    asyncio.run(main())


def test_the_timeout_covers_asking_for_policies():
    async def main():
        async def script(peer):
            await peer.wait_for_disconnect()

        async def silent(peer):
            await peer.read_message()
            await peer.wait_for_disconnect()

        log = Log()
        async with scripted_server(silent) as port:
            with Content(MOVIE, policyClient=client()):
                xml_socket = watch(XMLSocket(), log)
            xml_socket.timeout = 250
            xml_socket.connect("127.0.0.1", port)
            await idle()
        assert log == ["securityError"]

    asyncio.run(main())


def test_a_socket_stays_in_the_content_it_was_made_in():
    async def main():
        async with game() as (port, _):
            with Content("file:///movie.swf"):
                local = XMLSocket()
            with Content(MOVIE, allowNetworking="none"):
                forbidden = avm1.XMLSocket()
                with pytest.raises(SecurityError) as caught:
                    local.connect("127.0.0.1", port)
                assert caught.value.errorID == 2010
            assert forbidden.connect("127.0.0.1", port) is False
            log = watch(XMLSocket(), Log())
            log.connect("127.0.0.1", port)
            log.close()
            await idle()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("content", "sandbox"),
    [
        (Content("http://a.example/m.swf"), "remote"),
        (Content("https://a.example/m.swf"), "remote"),
        (Content("file:///m.swf"), "localWithFile"),
        (Content("C:\\movies\\m.swf"), "localWithFile"),
        (Content("file:///m.swf", sandboxType="localWithNetwork"), "localWithNetwork"),
        (Content("file:///m.swf", sandboxType="localTrusted"), "localTrusted"),
        (Content("app:/m.swf"), "application"),
    ],
    ids=repr,
)
def test_sandboxType_is_that_of_the_running_content(content, sandbox):
    assert Security.sandboxType == Security.APPLICATION
    with content:
        assert Security.sandboxType == sandbox
        with content, Content():
            assert Security.sandboxType == "application"
        assert Security.sandboxType == sandbox
    assert Security.sandboxType == "application"


def test_sandboxType_is_read_only_and_the_constants_are_adobes():
    with pytest.raises(AttributeError):
        Security.sandboxType = "remote"
    assert (
        Security.REMOTE,
        Security.LOCAL_WITH_FILE,
        Security.LOCAL_WITH_NETWORK,
        Security.LOCAL_TRUSTED,
        Security.APPLICATION,
    ) == ("remote", "localWithFile", "localWithNetwork", "localTrusted", "application")


def test_exactSettings_is_kept_with_the_content():
    with Content(MOVIE):
        assert Security.exactSettings is True
        Security.exactSettings = False
        assert Security.exactSettings is False
    assert Security.exactSettings is True


@pytest.mark.parametrize("url", ["nonsense", "xmlsocket://host", "ftp//", "xmlsocket://host:99999999"])
def test_loadPolicyFile_of_no_location_is_error_2004(url):
    with Content("app:/main.swf"), pytest.raises(ArgumentError) as caught:
        Security.loadPolicyFile(url)
    assert caught.value.errorID == 2004


def test_loadPolicyFile_of_nothing_is_error_2007():
    with pytest.raises(FlashTypeError) as caught:
        Security.loadPolicyFile(None)
    assert caught.value.errorID == 2007


def test_loadPolicyFile_is_forbidden_without_networking():
    with Content(MOVIE, allowNetworking="none"), pytest.raises(SecurityError) as caught:
        Security.loadPolicyFile("xmlsocket://127.0.0.1:2525")
    assert caught.value.errorID == 2146
    assert "Security.loadPolicyFile()" in caught.value.message


def test_loadPolicyFile_takes_a_URL_relative_to_the_content():
    content = Content("http://games.example.com/dir/movie.swf")
    with content:
        Security.loadPolicyFile("/crossdomain.xml")
    assert [str(location) for location in content.policyLocations] == ["http://games.example.com/crossdomain.xml"]


@pytest.mark.parametrize(
    "arguments",
    [{"url": "nonsense"}, {"sandboxType": "REMOTE"}, {"allowNetworking": "some"}, {"player": "new"}],
)
def test_a_content_that_means_nothing_is_refused(arguments):
    with pytest.raises(ConfigurationError):
        Content(**arguments)
