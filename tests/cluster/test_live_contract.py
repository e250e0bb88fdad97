from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("tests.contracts.broker_contract")

from tests.contracts.broker_contract import BrokerContract  # noqa: E402  # after its asserts are made to explain

from xmlsocket.rooms.cluster import NatsBroker  # noqa: E402


class TestNatsBroker(BrokerContract):
    @pytest.fixture(autouse=True)
    def use_server(self, shared_nats) -> None:
        self._url = shared_nats.url

    @contextlib.asynccontextmanager
    async def broker(self) -> AsyncIterator[NatsBroker]:
        yield NatsBroker(self._url, prefix=uuid.uuid4().hex)
