"""What the servers know a node by, and what a node knows the servers by, with real servers."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import time

import nkeys
import pytest
import trustme
from tests.cluster.cluster_nodes import Node
from tests.net.peers import until

from xmlsocket import BrokerError, ConfigurationError


def new_key(prefix):
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))


def public(key):
    return key.public_key.decode()


def jwt(issuer, subject, name, claims):
    """A JWT as NATS's own tools write it, signed by ``issuer``."""

    def part(raw):
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    body = {"jti": os.urandom(8).hex(), "iat": int(time.time()), "iss": public(issuer), "name": name, "sub": subject}
    head = part(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    text = f"{head}.{part(json.dumps({**body, 'nats': {**claims, 'version': 2}}).encode())}"
    return f"{text}.{part(issuer.sign(text.encode()))}"


class Operator:
    """Who signs accounts and users, and how a server is told of it."""

    def __init__(self):
        self._key = new_key(nkeys.PREFIX_BYTE_OPERATOR)
        self.account = new_key(nkeys.PREFIX_BYTE_ACCOUNT)

    @property
    def configuration(self):
        limits = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)
        account = jwt(self._key, public(self.account), "rooms", {"type": "account", "limits": limits})
        operator = jwt(self._key, public(self._key), "operator", {"type": "operator"})
        return f"operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {public(self.account)}: {account} }}\n"

    def credentials(self, path, account=None, **claims):
        user = new_key(nkeys.PREFIX_BYTE_USER)
        limits = {"subs": -1, "data": -1, "payload": -1}
        token = jwt(account or self.account, public(user), "node", {"type": "user", **limits, **claims})
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
        return path


@pytest.fixture
def operator_server(make_nats, any_nats_binary, tmp_path):
    operator = Operator()
    (tmp_path / "nats.conf").write_text(operator.configuration)
    server = make_nats("-c", str(tmp_path / "nats.conf"), binary=any_nats_binary, has_jetstream=False).start()
    return operator, server


def test_a_credentials_file_opens_a_server_with_an_operator_and_another_does_not(operator_server, tmp_path):
    operator, server = operator_server
    path = operator.credentials(tmp_path / "chat.creds")
    foreign = operator.credentials(tmp_path / "foreign.creds", account=new_key(nkeys.PREFIX_BYTE_ACCOUNT))

    async def main():
        for options in ({}, {"credentials": foreign}):
            with pytest.raises(BrokerError, match="Authorization Violation"):
                await Node(server.url, **options).broker.start()
        one, two = (Node(server.url, credentials=path) for _ in range(2))
        for node in (one, two):
            await node.broker.start()
            node.broker.subscribe("a")
        await until(lambda: one.counters["nodes"] == two.counters["nodes"] == 2)
        one.broker.publish("a", "hi")
        await until(lambda: two.texts() == ["hi"])
        for node in (one, two):
            await node.broker.close()

    asyncio.run(main())


def test_a_node_comes_back_with_the_credentials_file_as_it_is_then(operator_server, tmp_path):
    operator, server = operator_server
    path = operator.credentials(tmp_path / "chat.creds")

    async def main():
        node = Node(server.url, credentials=path)
        await node.broker.start()
        server.kill()
        await until(lambda: not node.session.is_connected)
        path.write_text("being written")
        server.start()
        await until(lambda: "no block" in node.broker.state.sentence)
        operator.credentials(path)
        await until(lambda: node.session.is_connected)
        await node.broker.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: None, "cannot be read"),
        (lambda text: "", "no block with a NATS USER JWT"),
        (lambda text: text[: text.index("-----BEGIN USER")], "no block with a USER NKEY SEED"),
        (lambda text: re.sub(r"SU\w{56}", "SUABC", text), "damaged"),
        (lambda text: re.sub(r"SU\w{56}", "!" * 58, text), "damaged"),
        (lambda text: text + "\xff", "not text"),
    ],
    ids=["missing", "empty", "no seed", "short seed", "no base32", "bytes"],
)
def test_what_is_no_credentials_file_is_refused_at_once_and_shows_no_secret(tmp_path, change, why):
    path = Operator().credentials(tmp_path / "chat.creds")
    text = path.read_text()
    changed = change(text)
    path.unlink()
    if changed is not None:
        path.write_bytes(changed.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=why) as caught:
        Node("nats://127.0.0.1", credentials=path)
    assert not re.search(r"SU\w{56}|eyJ", str(caught.value))


def test_what_a_user_may_not_do_is_said_and_the_node_is_not_ready(operator_server, tmp_path, caplog):
    operator, server = operator_server
    path = operator.credentials(tmp_path / "chat.creds", pub={"deny": ["xmlsocket.live.>"]})

    async def main():
        node = Node(server.url, credentials=path)
        await node.broker.start()
        assert node.broker.state.is_ready
        for number in range(3):
            node.broker.publish("a", f"nobody hears {number}")
            await asyncio.sleep(0)
        await until(lambda: not node.broker.state.is_ready)
        assert "xmlsocket.live.n-a" in node.broker.state.sentence
        await node.session.flush()
        await node.broker.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert caplog.text.count("does not allow") == 1


def test_a_server_that_asks_for_a_certificate_gets_ours(make_nats, tmp_path):
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = {"server": authority, "node": authority, "stranger": other}
    for name, issuer in made.items():
        certificate = issuer.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    files = ("--tlscert", str(tmp_path / "server.pem"), "--tlskey", str(tmp_path / "server.key"))
    server = make_nats("--tlsverify", "--tlscacert", str(tmp_path / "ca.pem"), *files).start()
    address = server.url.replace("nats://", "tls://")

    def of(name):
        return {"tls_certificate": tmp_path / f"{name}.pem", "tls_key": tmp_path / f"{name}.key"}

    async def main():
        for options in ({}, of("stranger")):
            with pytest.raises(BrokerError, match="TLS") as caught:
                await Node(address, tls_ca=tmp_path / "ca.pem", **options).broker.start()
            assert "certificate" in str(caught.value)
        node = Node(address, tls_ca=tmp_path / "ca.pem", **of("node"))
        await node.broker.start()
        assert node.broker.state.is_ready
        await node.broker.close()

    asyncio.run(main())
    with pytest.raises(ConfigurationError, match=r"node\.pem"):
        Node(address, tls_certificate=tmp_path / "node.pem", tls_key=tmp_path / "stranger.key")


def test_the_permissions_in_the_documentation_are_enough(make_nats, any_nats_binary, tmp_path):
    subjects = '["xmlsocket.>", "$KV.>", "$JS.API.>", "_INBOX.>"]'
    (tmp_path / "nats.conf").write_text(
        "authorization { users: [ { user: ana, password: secret, "
        f"permissions: {{ publish: {subjects}, subscribe: {subjects} }} }} ] }}\n"
    )
    server = make_nats("-c", str(tmp_path / "nats.conf"), binary=any_nats_binary).start()
    address = server.url.replace("nats://", "nats://ana:secret@")

    async def main():
        one, two = (Node(address, keeps=True) for _ in range(2))
        for node in (one, two):
            await node.broker.start()
            node.broker.subscribe("a")
        await until(lambda: one.counters["nodes"] == two.counters["nodes"] == 2)
        for number in range(20):
            await one.broker.keep("a", "ana", str(number))
        await until(lambda: len(two.texts()) == 20)
        assert len(await two.broker.history("b", None, 20)) == 0
        assert len(await two.broker.history("a", 3, 20)) == 17
        assert await one.broker.claim("ana")
        assert await two.broker.tell("ana", "hi") == "ana has it"
        assert one.broker.state.is_ready
        assert two.broker.state.is_ready
        for node in (one, two):
            await node.broker.close()

    asyncio.run(main())
