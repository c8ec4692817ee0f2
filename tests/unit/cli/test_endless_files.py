"""Files that commands are given and that have no end: refused, where memory was filled."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.cli import drift, main, predict_tensors
from serving.cli.load import flips
from serving.cli.load.ledger import heading
from serving.cli.pack_options import config_text
from serving.cli.predict_tensors import read_text
from serving.registry.repository import Repository
from serving.rollout.watching import slo_of
from serving.settings import load_settings

ENDLESS = Path("/dev/zero")
LEAST_BYTES = 1 << 20


HEAD = heading("m", 0.0)


@pytest.mark.parametrize(
    "read",
    [
        lambda _: config_text(ENDLESS, None),
        lambda _: read_text(str(ENDLESS)),
        lambda _: drift.read_profile(ENDLESS),
        lambda _: flips.read_flips(ENDLESS, HEAD),
        lambda folder: slo_of(load_settings(home=folder, slo_file=ENDLESS)),
    ],
    ids=["config", "call", "profile", "flips", "slo"],
)
def test_what_has_no_end_is_refused(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how much is read at most."""
    monkeypatch.setattr(predict_tensors, "MAX_TEXT_BYTES", LEAST_BYTES)
    monkeypatch.setattr(drift, "MAX_BYTES", LEAST_BYTES)
    monkeypatch.setattr(flips, "MAX_FLIPS_BYTES", LEAST_BYTES)
    with pytest.raises(InvalidArgumentError, match=f"has more than {LEAST_BYTES} bytes"):
        read(tmp_path)


def test_so_is_a_model_whose_configuration_is_such_a_link(tmp_path: Path) -> None:
    """It alone fails, with its reason."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").symlink_to(ENDLESS)
    found = Repository(tmp_path).scan_model("m")
    (failed,) = found.failed
    assert f"config.pbtxt has more than {LEAST_BYTES} bytes" in failed.reason


def test_so_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is piped into a command may have no end, either."""
    monkeypatch.setattr(predict_tensors, "MAX_TEXT_BYTES", LEAST_BYTES)
    monkeypatch.setattr(sys, "stdin", io.StringIO(" " * (LEAST_BYTES + 1)))
    with pytest.raises(InvalidArgumentError, match="standard input has more than"):
        read_text("-")


def test_alerts_are_not_made_of_an_endless_file(capsys: pytest.CaptureFixture[str]) -> None:
    """`bascule metrics rules --slo`: a sentence, and status 1."""
    with pytest.raises(SystemExit) as ended:
        main.main(["metrics", "rules", "--slo", str(ENDLESS)])
    assert ended.value.code == 1
    assert f"/dev/zero has more than {LEAST_BYTES} bytes" in capsys.readouterr().err


def test_an_array_that_claims_more_than_there_is_is_told(tmp_path: Path) -> None:
    """A .npy file of a few bytes whose head says terabytes."""
    file = tmp_path / "x.npy"
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(InvalidArgumentError, match="more than fits into memory"):
        predict_tensors.tensors_from_files({"x": file}, ())
