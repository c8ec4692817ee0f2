"""The record of an instance on Ray: what finds its processes, also after an interrupted start."""

from pathlib import Path

import pytest

from serving.cluster.lifecycle import refuse_second_instance
from serving.cluster.ray_process import RayInstance, read_record, record_path, write_record
from serving.errors import NotReadyError
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
