"""What all tests share: the two event loops, and how property tests are run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import settings

# A busy machine must not fail a property test for being slow.
settings.register_profile("xmlsocket", deadline=None)
settings.load_profile("xmlsocket")

Runner = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="session", autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Daemons that tests start keep their history here, not among the user's data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.delenv("STATE_DIRECTORY", raising=False)
        yield


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """Run a coroutine on the standard library's event loop, and in a second test on uvloop."""
    if request.param == "asyncio":
        return asyncio.run
    return pytest.importorskip("uvloop").run
