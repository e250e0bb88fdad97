from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("tests.contracts.broker_contract", "tests.contracts.cluster_contract")

from tests.contracts.cluster_contract import ClusterContract  # noqa: E402  # after its asserts are made to explain

from xmlsocket.limits import ClusterLimits  # noqa: E402
from xmlsocket.rooms.cluster import NatsBroker  # noqa: E402

PATIENT = ClusterLimits(connect_timeout=20, store_timeout=20)
"""What is promised here is not how soon: a machine that stands still for seconds breaks none of it."""


class TestNatsBrokers(ClusterContract):
    @pytest.fixture(autouse=True)
    def use_server(self, shared_nats, new_prefix) -> None:
        self._url, self._prefix = shared_nats.url, new_prefix

    @contextlib.asynccontextmanager
    async def brokers(self, count: int) -> AsyncIterator[list[NatsBroker]]:
        yield [NatsBroker(self._url, prefix=self._prefix, limits=PATIENT) for _ in range(count)]
