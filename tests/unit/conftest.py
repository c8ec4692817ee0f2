"""What every unit test is kept from doing."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit test that would start a cluster fails at once.

    Ray is only looked at when something has imported it: importing it here would cost two seconds.
    """

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("ray.init() in a unit test: use tests/fakes/, or move it to tests/e2e")

    if "ray" in sys.modules:
        monkeypatch.setattr("ray.init", refuse)
