"""What `bascule serve` says once nothing is on its way."""

from pathlib import Path

import pytest

from serving.edge.control import Snapshot, VersionRecord
from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.settings import load_settings
from serving.standalone.progress import summary


@pytest.mark.parametrize(("mode", "words"), [("none", "push one"), ("explicit", "--load-model")])
def test_where_there_is_nothing_to_serve_it_says_what_to_do(mode: str, words: str) -> None:
    """An instance without any version is ready, and says how one comes into it."""
    settings = load_settings(model_control_mode=mode, model_repository=Path("models"))

    first, second, *_ = summary(Snapshot(), settings)

    assert first == "ready    0 of 0 versions"
    assert words in second


def test_a_failed_version_is_something() -> None:
    """Where a version failed, its reason is what people have to read."""
    key = VersionKey("m", 1)
    failed = VersionRecord(model="m", version=1, state=VersionState.UNAVAILABLE, reason="no")

    told = "\n".join(summary(Snapshot(versions={key: failed}), load_settings()))

    assert "failed   m:1: no" in told
    assert "nothing to serve" not in told
