from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contracts.broker_contract")

from tests.contracts.broker_contract import BrokerContract  # noqa: E402  # after its asserts are made to explain

from xmlsocket.rooms import History, HistoryBroker  # noqa: E402


class TestHistoryBroker(BrokerContract):
    @contextlib.asynccontextmanager
    async def broker(self) -> AsyncIterator[HistoryBroker]:
        with tempfile.TemporaryDirectory() as folder:
            yield HistoryBroker(lambda: History(Path(folder) / "history.db"))
