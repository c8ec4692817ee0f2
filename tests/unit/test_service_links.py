"""What Kubernetes puts into every container's environment is no misspelt setting."""

import pytest

from runtimes.errors import InvalidArgumentError
from serving.settings import load_settings

# Of a Service `bascule` with a named port, and of one `bascule-http`, as the kubelet writes them.
LINKS = {
    "BASCULE_SERVICE_HOST": "10.96.0.12",
    "BASCULE_SERVICE_PORT": "8000",
    "BASCULE_SERVICE_PORT_HTTP": "8000",
    "BASCULE_PORT": "tcp://10.96.0.12:8000",
    "BASCULE_PORT_8000_TCP": "tcp://10.96.0.12:8000",
    "BASCULE_PORT_8000_TCP_PROTO": "tcp",
    "BASCULE_PORT_8000_TCP_PORT": "8000",
    "BASCULE_PORT_8000_TCP_ADDR": "10.96.0.12",
    "BASCULE_HTTP_SERVICE_HOST": "fd00::12",
    "BASCULE_HTTP_PORT": "tcp://[fd00::12]:8000",
    "BASCULE_HTTP_PORT_8000_TCP": "tcp://[fd00::12]:8000",
}


def test_a_service_of_our_name_keeps_nobody_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variables begin with `BASCULE_`, and mean nothing to us."""
    for variable, value in LINKS.items():
        monkeypatch.setenv(variable, value)

    assert load_settings(home="h").http.port == 8000


@pytest.mark.parametrize(
    ("variable", "value"),
    [("BASCULE_PORT", "8000"), ("BASCULE_HTTP_PORT", "8000"), ("BASCULE_SERVICE_PORT", "http")],
)
def test_a_misspelt_setting_is_refused_all_the_same(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """Kubernetes writes other values there."""
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidArgumentError, match=f"unknown setting {variable}"):
        load_settings(home="h")
