"""`deploy/bascule.service` agrees with the code: what it starts, how it ends, what it may do."""

import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from serving.cli.main import WORDS
from serving.edge.haproxy_process import MAX_CONNECTIONS, connections_within
from serving.settings import load_settings

ROOT: Final = Path(__file__).parents[2]
UNIT: Final = ROOT / "deploy" / "bascule.service"
ENDING_S: Final = 10
"""What an end takes besides the two drains, edge's and workers'."""


def said() -> dict[str, list[str]]:
    """Read what the unit says of its service: key → values."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def only(key: str) -> str:
    """Return what a key says that is there once."""
    (value,) = said()[key]
    return value


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give this process the unit's settings."""
    found = dict(pair.split("=", 1) for pair in said()["Environment"])
    for variable, value in found.items():
        monkeypatch.setenv(variable, value)
    return found


def test_it_starts_what_there_is(variables: dict[str, str]) -> None:
    """A command of ours, with settings that exist and are valid."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    program, *words = only("ExecStart").split()
    settings = load_settings()

    assert Path(program).name in scripts
    assert words == ["serve"]
    assert words[0] in WORDS
    assert settings.log_to_stderr  # where the journal listens
    assert str(settings.home) == variables["BASCULE_HOME"] == f"/var/lib/{only('StateDirectory')}"


def test_its_end_is_ordered_of_one_process_that_has_the_time_for_it(
    variables: dict[str, str],
) -> None:
    """The others are only killed, if they are there still."""
    drain_s = load_settings().drain_s

    assert "BASCULE_DRAIN_S" in variables
    assert only("KillMode") == "mixed"
    assert float(only("TimeoutStopSec")) >= 2 * drain_s + ENDING_S
    assert "KillSignal" not in said()  # SIGTERM is the default
    assert only("Restart") == "on-failure"


def test_it_may_have_all_connections() -> None:
    """HAProxy would take fewer with fewer files."""
    assert connections_within(int(only("LimitNOFILE"))) == MAX_CONNECTIONS


def test_it_may_do_little() -> None:
    """And nothing is asked for that engines or GPUs cannot live with."""
    assert only("User") != "root"
    assert only("CapabilityBoundingSet") == ""
    for key in ("NoNewPrivileges", "PrivateTmp", "ProtectHome"):
        assert only(key) == "true", key
    assert only("ProtectSystem") == "strict"
    assert not {"MemoryDenyWriteExecute", "PrivateDevices", "DevicePolicy"} & said().keys()
