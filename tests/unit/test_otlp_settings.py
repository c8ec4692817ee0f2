"""Settings of traces: what cannot work is refused before anything starts."""

import sys

import pytest

from runtimes.errors import InvalidArgumentError
from serving.settings import load_settings

PACKAGE = "opentelemetry.exporter.otlp.proto.http"


def test_spans_need_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these are not installed, it is said how they get there."""
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    load_settings(home="h")
    with pytest.raises(InvalidArgumentError, match=r"pip install 'bascule\[otel\]'"):
        load_settings(home="h", otlp_endpoint="http://127.0.0.1:4318")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "grpc://x", "http://"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    """Others are refused by the setting's name."""
    with pytest.raises(InvalidArgumentError, match="BASCULE_OTLP_ENDPOINT"):
        load_settings(home="h", otlp_endpoint=endpoint)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    """Between none and all."""
    with pytest.raises(InvalidArgumentError, match="BASCULE_OTLP_SHARE"):
        load_settings(home="h", otlp_share=share)
