"""Twisted's ``LineOnlyReceiver`` with a zero byte for its delimiter, on the epoll reactor.

python twisted_server.py echo|relay PORT
python twisted_server.py policy PORT FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

mode, port, *policy_file = sys.argv[1:]
policy = Path(policy_file[0]).read_bytes() if policy_file else b""
members: set[Member] = set()


class Receiver(LineOnlyReceiver):
    delimiter = b"\0"
    MAX_LENGTH = 16 * 1024 * 1024

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        self.transport.setTcpNoDelay(True)


class Echo(Receiver):
    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's name
        self.sendLine(line)


class Member(Receiver):
    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        super().connectionMade()
        members.add(self)

    def connectionLost(self, reason: object = None) -> None:  # noqa: N802 - Twisted's name
        members.discard(self)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's name
        for member in members:
            member.sendLine(line)


class Policy(Receiver):
    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's name
        if line == b"<policy-file-request/>":
            self.sendLine(policy)
        self.transport.loseConnection()


factory = Factory.forProtocol({"echo": Echo, "relay": Member, "policy": Policy}[mode])
reactor.listenTCP(int(port), factory, backlog=4096, interface="127.0.0.1")
reactor.callWhenRunning(print, "ready", flush=True)
reactor.run()
