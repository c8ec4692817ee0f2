"""An instance on Ray whose home is on a full disk ends all the same, and a start is refused."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from serving.cli.up import up
from serving.cluster import lifecycle
from serving.cluster.instance_processes import MARK, processes_of
from serving.cluster.lifecycle import end_instance_of
from serving.cluster.messenger import kept_output
from serving.cluster.names import ending_mark
from serving.cluster.ray_process import RayInstance, record_path, write_record
from serving.errors import NotReadyError
from serving.settings import Settings, load_settings
from tests.fakes.standalone_server import free_ports


class Errands:
    """Takes every errand, and says what it was."""

    done: tuple[str, ...] = ()

    def __init__(self, action: str, settings: Settings, record: RayInstance) -> None:
        """Remember which."""
        self._action = (action, settings.home, record.instance)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""

    def run(self, record: RayInstance, limit_s: float) -> None:
        """Do it."""
        assert record.instance == self._action[2]
        assert limit_s > 0
        Errands.done += (self._action[0],)


def test_what_cannot_be_marked_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, and every process of it: a traceback left Ray running, with its GPUs."""
    settings = load_settings(home=tmp_path)
    record = RayInstance(instance=f"test-{os.getpid()}", address="127.0.0.1:1")
    write_record(settings, record)
    ending_mark(settings).symlink_to(tmp_path / "nowhere" / "mark")
    monkeypatch.setattr(lifecycle, "_can_end_in_order", lambda _: True)
    monkeypatch.setattr(lifecycle, "Messenger", Errands)
    environment = {MARK: record.instance}
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env=environment
    )
    try:
        assert end_instance_of(settings) == 1
        assert Errands.done == ("down",)
        assert not processes_of(record.instance)
        assert not record_path(settings).exists()
    finally:
        process.kill()
        process.wait()


class Mute:
    """A log that is on a terminal which was closed."""

    def warning(self, event: str, **said: object) -> None:
        """Refuse the line."""
        raise OSError(errno.EIO, "Input/output error", f"{event} {said}")


class Refused(Errands):
    """Ray does not end it."""

    def run(self, record: RayInstance, limit_s: float) -> None:
        """Fail."""
        raise NotReadyError(f"{record.address} said no within {limit_s} s")


def test_what_cannot_be_told_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who closed the terminal of a start is left with a Ray that runs."""
    settings = load_settings(home=tmp_path)
    record = RayInstance(instance=f"test-mute-{os.getpid()}", address="127.0.0.1:1")
    write_record(settings, record)
    monkeypatch.setattr(lifecycle, "_can_end_in_order", lambda _: True)
    monkeypatch.setattr(lifecycle, "Messenger", Refused)
    monkeypatch.setattr(lifecycle, "log", Mute())
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={MARK: record.instance}
    ) as process:
        try:
            with pytest.raises(OSError, match="Input/output error"):
                end_instance_of(settings)
            assert not processes_of(record.instance)
            assert not record_path(settings).exists()
        finally:
            process.kill()


def test_what_an_errand_said_is_kept_if_there_is_room(tmp_path: Path) -> None:
    """Without room the errand counts all the same, and its last words say why there is no log."""
    file = tmp_path / "logs" / "ray_down.log"
    assert kept_output(file, b"all is well\n") == f"log: {file}"
    assert file.read_bytes() == b"all is well\n"
    file.unlink()
    file.symlink_to("/dev/full")
    told = f"its log cannot be kept in {file}: No space left on device"
    assert kept_output(file, b"all is well\n") == told


def test_a_start_without_room_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is started: nothing could be found again without its record."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path))
    fresh = record_path(load_settings()).with_suffix(".new")
    fresh.parent.mkdir()
    fresh.symlink_to("/dev/full")
    http, grpc, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    with pytest.raises(NotReadyError, match=r"BASCULE_HOME .*cannot be used: No space left on"):
        up(http=http, grpc=grpc, metrics=metrics)
