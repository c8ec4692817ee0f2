"""A home on a disk that is full is refused in a sentence."""

from pathlib import Path

import pytest

from serving.errors import NotReadyError
from serving.settings import load_settings
from serving.standalone.home import RECORD_FILE, sole_instance


def test_a_record_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """The folders and the lock take no room, the record does; the next start finds none of it."""
    settings = load_settings(home=tmp_path / "home")
    record = settings.run_dir / RECORD_FILE
    settings.run_dir.mkdir(parents=True)
    record.symlink_to("/dev/full")
    with (
        pytest.raises(NotReadyError, match=r"BASCULE_HOME .*cannot be used: No space left on"),
        sole_instance(settings, "one"),
    ):
        pytest.fail("it began without its record")
    assert not record.is_symlink()
    with sole_instance(settings, "one"):
        assert record.is_file()
