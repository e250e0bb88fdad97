"""The fuzz targets hold on their corpus and on some mutations of it; the long runs are atheris' own."""

from __future__ import annotations

import pytest
from fuzz import driver, fuzz_frames, fuzz_handshake


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("target", "corpus"),
    [(fuzz_frames.check, "frames"), (fuzz_handshake.check, "handshake")],
    ids=["frames", "handshake"],
)
def test_the_invariant_holds_for_the_corpus_and_its_mutations(target: driver.Target, corpus: str, seed: int) -> None:
    driver.run(target, corpus, iterations=1500, seed=seed)


def test_a_finding_names_its_input_and_the_seed() -> None:
    def broken(data: bytes) -> None:
        assert b"websocket" not in data

    with pytest.raises(AssertionError) as caught:
        driver.run(broken, "handshake", iterations=1000, seed=7)
    (note,) = caught.value.__notes__
    assert "websocket" in note
    assert "seed 7" in note
