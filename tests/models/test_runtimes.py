"""What needs no exported file; the networks themselves are compared in tests/export."""

from __future__ import annotations

import pytest

from rtvp.models.runtimes import threads


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("", 0), ("many", 0), (None, 0)])
def test_threads_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert threads() == expected
