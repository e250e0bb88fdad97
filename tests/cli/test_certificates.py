"""Certificates of the daemon, of one process and of several: its own, read anew at SIGHUP, and those for NATS."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.cli.processes import DEADLINE, Client, run, serving, until

if sys.platform != "linux":
    pytest.skip("SIGHUP and workers need Linux", allow_module_level=True)

from xmlsocket.cli import private_broker


class Certificates:
    """A certificate file in a folder whose name has a blank, renewed whenever a test likes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.authority = trustme.CA()
        self.file = folder / "cert.pem"
        self.context = ssl.create_default_context()
        self.authority.configure_trust(self.context)

    def renew(self) -> None:
        self.file.write_bytes(self.authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes())

    def shown(self, port: int) -> set[Any]:
        """The serial numbers of what the daemon shows to ten clients, each of whom it answers."""
        return {self._greet(port) for _ in range(10)}

    def _greet(self, port: int) -> Any:
        sock = socket.create_connection(("localhost", port), DEADLINE)
        with self.context.wrap_socket(sock, server_hostname="localhost") as client:
            client.sendall(b"hello\0")
            assert client.recv(100) == b"hello\0"
            return (client.getpeercert() or {})["serialNumber"]


def nats_with_tls(folder: Path, authority: trustme.CA) -> tuple[subprocess.Popen[bytes], int]:
    """A NATS server that wants a certificate and a password; and what its clients need, in the folder."""
    program = private_broker.find_server()
    if program is None:
        pytest.skip("needs a NATS server")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, issued in (("server", authority.issue_cert("localhost")), ("node", authority.issue_cert("node"))):
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    configuration = {
        "host": "127.0.0.1",
        "port": port,
        "jetstream": {"store_dir": str(folder / "store")},
        "tls": {
            "cert_file": str(folder / "server.pem"),
            "key_file": str(folder / "server.key"),
            "ca_file": str(folder / "ca.pem"),
            "verify": True,
        },
        "authorization": {"user": "node", "password": "p@ss"},
    }
    (folder / "nats.conf").write_text(json.dumps(configuration))
    command = [program, "-c", str(folder / "nats.conf")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), port


def hear(client: Client, *starts: str) -> str:
    while not (message := client.receive()).startswith(starts):
        pass
    return message


def test_daemons_share_a_nats_server_with_tls_certificates_and_a_password_that_nothing_shows(tmp_path):
    pytest.importorskip("nats", reason="a cluster needs nats-py")
    nats, port = nats_with_tls(tmp_path, trustme.CA())
    files = [f"--broker-{option}" for option in ("ca", "cert", "key")]
    places = [str(tmp_path / name) for name in ("ca.pem", "node.pem", "node.key")]
    options = [text for pair in zip(files, places, strict=True) for text in pair]
    address = ("--broker", f"tls://node:p%40ss@localhost:{port}", "--max-connections", "500")
    try:
        with (
            serving("--workers", "2", *address, *options) as several,
            serving(*address, *options) as one,
            Client(several.port) as ada,
            Client(one.port) as bob,
        ):
            for name, person in (("ada", ada), ("bob", bob)):
                until(lambda name=name, person=person: log_in(person, name), "names can be told")
                person.send('<join room="lobby"/>')
                hear(person, "<joined ")
            ada.send('<say room="lobby">hello</say>')
            assert ">hello</said>" in hear(bob, "<said ")
            for daemon in (several, one):
                assert f"broker:  tls://localhost:{port}" in daemon.stdout
                assert "p@ss" not in daemon.stdout + daemon.stderr
                assert "p%40ss" not in daemon.stdout + daemon.stderr
        for lacking, said in (((), "certificate verify failed"), (options[:2], "the server asks for a certificate")):
            result = run("serve", "--port", "0", *address, *lacking)
            assert result.returncode == 1
            assert said in result.stderr.decode()
    finally:
        nats.terminate()
        nats.wait()


def log_in(client: Client, name: str) -> bool:
    client.send(f'<login name="{name}"/>')
    return client.receive().startswith("<welcome ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_reads_a_renewed_certificate_and_a_bad_one_leaves_the_old(workers, tmp_path):
    certificates = Certificates(tmp_path / "with blank")
    certificates.renew()
    arguments = ("--workers", workers, "--tls-cert", str(certificates.file), "--max-connections", "500")
    with serving("echo", *arguments) as daemon:
        port = daemon.port
        before = certificates.shown(port)
        with Client(port) as old:
            old.send("x")
            assert old.receive() == "x"
            certificates.renew()
            daemon.send_signal(signal.SIGHUP)
            until(lambda: certificates.shown(port).isdisjoint(before), "the new one is shown")
            daemon.wait_for("anew; connections" if workers == "1" else "workers are new")
            if workers == "1":
                old.send("y")
                assert old.receive() == "y"
        after = certificates.shown(port)
        assert len(before) == len(after) == 1
        certificates.file.write_text("this is none")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("the old (certificate|one) stays", "stderr")
        assert certificates.shown(port) == after
        assert daemon.stop() == 0
