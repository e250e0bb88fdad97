"""Where a policy cannot be served, and what is said then: by the library and by ``xmlsocket policy serve``."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from xmlsocket.cli.program import run
from xmlsocket.errors import ConfigurationError, ListenError
from xmlsocket.net.policy_server import serve_policy

POLICY = '<cross-domain-policy><allow-access-from domain="a.example" to-ports="8080"/></cross-domain-policy>'

HOSTS = [
    ("no-such-host.invalid", ListenError, "unknown"),
    ("203.0.113.1", ListenError, "not an address of this machine"),  # of a network that is nobody's
    ("2001:db8::1", ListenError, "not an address of this machine"),
    ("x y", ListenError, "unknown"),
    ("a..b", ConfigurationError, "cannot be the name of a host"),
    ("x" * 300, ConfigurationError, "cannot be the name of a host"),
]


@pytest.mark.parametrize(("host", "kind", "complaint"), HOSTS)
def test_a_host_that_cannot_be_listened_on_is_told_with_its_name(host, kind, complaint, tmp_path):
    async def main() -> None:
        with pytest.raises(kind, match=complaint) as told:
            async with serve_policy(POLICY, host, 0, served_from=8080):
                pass
        assert host[:20] in str(told.value)

    asyncio.run(main())


@pytest.mark.parametrize(("host", "kind", "complaint"), HOSTS)
def test_the_command_ends_with_a_sentence_and_a_code(host, kind, complaint, tmp_path, capsys):
    file = write(tmp_path)
    code = run(["policy", "serve", str(file), "--port", "0", "--host", host])
    assert code == (1 if kind is ListenError else 2)
    said = capsys.readouterr().err
    assert complaint in said.replace("\n", " ")
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_told(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["policy", "serve", str(write(tmp_path)), "--port", str(port), "--host", "127.0.0.1"]) == 1
        assert f"127.0.0.1:{port}" in capsys.readouterr().err


def write(folder: Path) -> Path:
    file = folder / "policy.xml"
    file.write_text(POLICY)
    return file
