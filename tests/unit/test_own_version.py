"""The version that Bascule says of itself."""

from importlib.metadata import version
from pathlib import Path

import pytest

from serving.own_version import PROJECT_FILE, UNKNOWN, own_version, version_of_checkout


def test_a_checkout_says_what_its_package_would() -> None:
    """Installed or not, the same version is told."""
    assert own_version() == version("bascule") == version_of_checkout(PROJECT_FILE)


@pytest.mark.parametrize("text", [None, "", "[project]\n", "no toml"])
def test_without_a_version_it_is_unknown(tmp_path: Path, text: str | None) -> None:
    """Neither a package nor a project file ends nothing."""
    file = tmp_path / "pyproject.toml"
    if text is not None:
        file.write_text(text)

    assert version_of_checkout(file) == UNKNOWN
