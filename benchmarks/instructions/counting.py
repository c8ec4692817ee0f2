"""Has the driver's instructions counted by callgrind, in a process of its own."""

import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.instructions.baseline import Counted
from benchmarks.instructions.callgrind import MACHINE
from benchmarks.instructions.driver import REQUEST_COUNT

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = (
    "httptools", "msgspec", "numpy", "onnxruntime-gpu", "orjson", "protobuf", "uvicorn", "uvloop",
)  # fmt: skip
"""Whose instructions are counted with ours."""
NAME: Final = "desc: Trigger: Client Request: "
TOTAL: Final = "totals: "
BUILD_FLAGS: Final = ("--enable-shared", "--enable-optimizations", "--with-lto")
"""Of Python's own build, those that change how many instructions it needs."""
LOOP_THREAD: Final = "01"
"""As callgrind names the files of the first thread, which runs the loop. Engines keep threads that
wake up now and then: what they do is no request's."""
LIMIT_S: Final = 600.0


class CountingError(Exception):
    """The counting could not be done, though it should."""


def why_not() -> str:
    """Return why nothing can be counted on this machine; empty if it can."""
    if platform.machine() != MACHINE:
        return f"instructions are counted on {MACHINE} only: this machine is {platform.machine()}"
    if shutil.which("valgrind") is None:
        return "valgrind is not installed here (Debian's package `valgrind` has it)"
    return ""


def counted() -> Counted:
    """Count; takes some tens of seconds.

    The environment is fixed, not inherited: its size moves the stack, and hashes follow their seed.

    Raises:
        CountingError: The driver failed, or callgrind did not write what it should.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes",
             f"--callgrind-out-file={out}", sys.executable, "-m", "benchmarks.instructions.driver"],
            cwd=ROOT,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONHASHSEED": "0",
                 "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise CountingError(f"the driver ended with {done.returncode}:\n{done.stderr[-4000:]}")
        totals = dict(_totals(Path(folder)))
    if not totals:
        raise CountingError(f"callgrind has counted nothing:\n{done.stderr[-4000:]}")
    return Counted(
        interpreter=interpreter(),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        instructions={name: round(total / REQUEST_COUNT) for name, total in totals.items()},
    )


def interpreter() -> str:
    """Return what the counts depend on most: which Python, and how it was compiled."""
    given = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return ", ".join(
        (
            f"{platform.python_implementation()} {platform.python_version()}",
            platform.python_compiler(),
            *(flag for flag in BUILD_FLAGS if flag in given),
            platform.machine(),
        )
    )


def _totals(folder: Path) -> Iterator[tuple[str, int]]:
    """Read each part's total, in the order of the parts."""
    places = sorted(folder.glob(f"callgrind.*-{LOOP_THREAD}"), key=lambda place: place.name)
    for place in sorted(places, key=lambda place: len(place.name)):
        lines = place.read_text().splitlines()
        found = _after(lines, NAME), _after(lines, TOTAL)
        if all(found):
            yield found[0], int(found[1])


def _after(lines: list[str], start: str) -> str:
    return next((line.removeprefix(start) for line in lines if line.startswith(start)), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""  # another build of the engine, as on machines that are no Linux


def differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Return which packages are not those of the baseline; empty if all are."""
    return ", ".join(
        f"{name} {ours.get(name, 'none')} (baseline: {theirs.get(name, 'none')})"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    )
