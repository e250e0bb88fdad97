from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.browser.setting import Settings
from tests.browser.studio import Studio


@pytest.fixture(scope="session")
def studio() -> Iterator[Studio]:
    """The one browser of the run."""
    studio = Studio()
    studio.open()
    yield studio
    studio.close()


@pytest.fixture(scope="session")
def settings(studio: Studio) -> Iterator[Settings]:
    """Players and a server, for all tests of the run."""
    settings = Settings(studio)
    settings.open()
    yield settings
    settings.close()
