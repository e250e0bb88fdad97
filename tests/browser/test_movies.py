"""The movies of the tests are what their sources say."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from tests.browser import avm1
from tests.browser.studio import FOLDER

HAXE = "4.2.5"
"""The release that has made the movie that is kept."""


def test_the_assembler_makes_the_movie_that_is_kept() -> None:
    assert avm1.MOVIE.read_bytes() == avm1.driver(), "write it anew: python -m tests.browser.avm1"
    assert avm1.GAME.read_bytes() == avm1.game(), "write it anew: python -m tests.browser.avm1"


@pytest.mark.parametrize(
    ("name", "options"), [("driver", ["-main", "Driver"]), ("game2", ["-swf-header", "550:400:30", "-main", "Game"])]
)
def test_haxe_makes_the_movies_that_are_kept(name: str, options: list[str], tmp_path: Path) -> None:
    haxe = shutil.which("haxe")
    if haxe is None:
        pytest.skip("NOT COMPILED ANEW: there is no Haxe here; on Debian: apt install haxe")
    made = tmp_path / f"{name}.swf"
    command = [haxe, "-cp", str(FOLDER / "swf"), "-swf", str(made), "-swf-version", "11.4", *options]
    subprocess.run(command, check=True, timeout=50)
    kept = FOLDER / "swf" / f"{name}.swf"
    version = subprocess.run([haxe, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    # Another release of the compiler makes other code of the same source.
    assert version != HAXE or unpacked(made) == unpacked(kept), f"compile it anew: {' '.join(command)}"


def unpacked(movie: Path) -> bytes:
    """What is in it, whatever release of zlib has packed it."""
    data = movie.read_bytes()
    return data[3:8] + zlib.decompress(data[8:]) if data.startswith(b"CWS") else data
