from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("tests.contracts.broker_contract")

from tests.contracts.broker_contract import BrokerContract  # noqa: E402  # after its asserts are made to explain

from xmlsocket.limits import ClusterLimits  # noqa: E402
from xmlsocket.rooms.cluster import NatsBroker  # noqa: E402

PATIENT = ClusterLimits(connect_timeout=20, store_timeout=20)
"""What is promised here is not how soon: a machine that stands still for seconds breaks none of it."""


class TestNatsBroker(BrokerContract):
    @pytest.fixture(autouse=True)
    def use_server(self, shared_nats) -> None:
        self._url = shared_nats.url

    @contextlib.asynccontextmanager
    async def broker(self) -> AsyncIterator[NatsBroker]:
        yield NatsBroker(self._url, prefix=uuid.uuid4().hex, limits=PATIENT)
