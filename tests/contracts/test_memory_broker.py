from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("tests.contracts.broker_contract")

from tests.contracts.broker_contract import BrokerContract  # noqa: E402  # after its asserts are made to explain
from tests.contracts.slow_broker import SlowBroker  # noqa: E402

from xmlsocket.rooms import MemoryBroker  # noqa: E402


class TestMemoryBroker(BrokerContract):
    @contextlib.asynccontextmanager
    async def broker(self) -> AsyncIterator[MemoryBroker]:
        yield MemoryBroker()


class TestSlowBroker(BrokerContract):
    """The suite itself, with results that are pending."""

    @contextlib.asynccontextmanager
    async def broker(self) -> AsyncIterator[SlowBroker]:
        yield SlowBroker()
