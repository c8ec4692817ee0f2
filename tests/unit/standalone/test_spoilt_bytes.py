"""Files of state in which a disk has spoilt one byte of a name: they are damaged, and told so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.cluster.ray_process import RayInstance, read_record, record_path, write_record
from serving.edge import snapshot_file
from serving.edge.regions import RegionBook, RegionPolicy
from serving.errors import AlreadyExistsError, NotReadyError
from serving.ids import VersionKey
from serving.monitor.totals import Totals
from serving.predictions.labels.references import read_findings
from serving.rollout.drift.alarm_file import AlarmFile
from serving.rollout.placed_file import PlacedFile
from serving.settings import load_settings
from serving.standalone.home import refuse_running, sole_instance

NAME = b'"\xffame"'
"""No UTF-8: a decoder tells it otherwise than a brace that is missing."""
KEY = VersionKey("a", 1)


def placed(path: Path) -> object:
    """Where versions were first placed."""
    path.write_bytes(
        b'{"versions": [{"model": ' + NAME + b', "version": 1, "digest": "", "environment": 0}]}'
    )
    return PlacedFile(path).known(KEY, "")


def alarms(path: Path) -> object:
    """The alarms that somebody has still to see."""
    path.write_bytes(b'[{"model": ' + NAME + b', "version": 1, "monitor_digest": "x"}]')
    return AlarmFile(path).of(KEY, "x").alarms or None


def routes(_: Path) -> object:
    """What an edge leaves to the next one."""
    return snapshot_file.decode(b'{"instance": ' + NAME + b"}")


def totals(_: Path) -> object:
    """What it has counted."""
    return Totals().recall(b'{"instance": ' + NAME + b"}", "one") or None


def regions(path: Path) -> object:
    """What clients share."""
    path.write_bytes(b'{"instance": ' + NAME + b"}")
    book = RegionBook(RegionPolicy(is_on=True), path, "one")
    book.recall(keep=True)
    return None


@pytest.mark.parametrize("read", [placed, alarms, routes, totals, regions])
def test_what_can_be_learnt_anew_is_as_if_it_were_not_there(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    """None of them keeps an instance from starting."""
    assert read(tmp_path / "state.json") is None


def test_a_damaged_record_on_ray_is_told_in_a_sentence(tmp_path: Path) -> None:
    """It names the file, and what to do."""
    settings = load_settings(home=tmp_path)
    write_record(settings, RayInstance(instance="name"))
    path = record_path(settings)
    path.write_bytes(path.read_bytes().replace(b'"name"', NAME))
    with pytest.raises(NotReadyError, match=r"ray\.json.*damaged.*remove it"):
        read_record(settings)


def test_a_second_instance_is_refused_whatever_the_record_says(tmp_path: Path) -> None:
    """The lock says that one runs; whose it is, the record would only add."""
    settings = load_settings(home=tmp_path)
    with sole_instance(settings, "name"):
        path = settings.run_dir / "instance.json"
        path.write_bytes(path.read_bytes().replace(b'"name"', NAME))
        with pytest.raises(AlreadyExistsError, match="an instance already runs in"):
            refuse_running(settings)


def test_damaged_labels_are_told_with_their_file(tmp_path: Path) -> None:
    """They cannot be learnt anew from labels that are gone: a person decides."""
    (tmp_path / "judged.json").write_bytes(b"{" + NAME + b": {}}")
    with pytest.raises(InvalidArgumentError, match=r"judged\.json.*restore the file"):
        read_findings(str(tmp_path))
