"""The record of an instance on Ray: what finds its processes, also after an interrupted start."""

from pathlib import Path

import pytest

from serving.cluster.lifecycle import refuse_second_instance, sole_start
from serving.cluster.ray_process import RayInstance, read_record, record_path, write_record
from serving.errors import AlreadyExistsError, NotReadyError
from serving.settings import load_settings


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """And there is none before."""
    settings = load_settings(home=tmp_path)
    assert read_record(settings) is None
    record = RayInstance(instance="one", address="127.0.0.1:6379")
    write_record(settings, record)
    assert read_record(settings) == record


@pytest.mark.parametrize("text", [b"", b"{", b"{}"])
def test_a_damaged_record_is_told_in_a_sentence(tmp_path: Path, text: bytes) -> None:
    """It names the file, and what to do: nobody can know whose processes it was of."""
    settings = load_settings(home=tmp_path)
    write_record(settings, RayInstance(instance="one"))
    record_path(settings).write_bytes(text)
    with pytest.raises(NotReadyError, match=r"ray\.json.*damaged.*remove it"):
        refuse_second_instance(settings)


def test_two_starts_at_once_are_one(tmp_path: Path) -> None:
    """The other one is refused: a record without a process is no death while somebody starts it.

    It took the record away, and an instance could start that `bascule down` knew nothing of.
    """
    settings = load_settings(home=tmp_path)
    record = RayInstance(instance="nobody has this mark yet")
    settings.run_dir.mkdir()
    with sole_start(settings):
        write_record(settings, record)
        for _ in range(2):
            with pytest.raises(AlreadyExistsError, match="an instance is being started in"):
                refuse_second_instance(settings)
        assert read_record(settings) == record
    refuse_second_instance(settings)  # it died: the next one may clear away what it has left
    assert read_record(settings) is None


def test_a_home_that_was_never_used_refuses_nothing(tmp_path: Path) -> None:
    """And gets nothing either: whoever only asks makes no folders."""
    settings = load_settings(home=tmp_path / "home")
    refuse_second_instance(settings)
    assert not settings.home.exists()
