from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.browser.studio import Studio


@pytest.fixture(scope="session")
def studio() -> Iterator[Studio]:
    """The one browser of the run."""
    studio = Studio()
    studio.open()
    yield studio
    studio.close()
