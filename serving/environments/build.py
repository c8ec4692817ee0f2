"""Builds the environment for a lock: a virtual environment whose pinned packages shadow ours.

It holds exactly what the lock pins, without what those packages depend on: whatever is not pinned
comes from the environment that Bascule runs in, which a `.pth` file names behind the pinned ones.
So a worker that starts with it has all of its own needs, and the model's packages where they
differ. Wheels only: building a package would run its author's code here.

pip is used where this environment has it, because pip reads the machine's configuration (which
index, which proxy) and uv does not; uv is used where there is no pip.
"""

import importlib.util
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import time
import venv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from runtimes.errors import ModelLoadError
from serving.environments.record import Environment, interpreter, write_mark
from serving.environments.store import Environments, environment_key
from serving.registry.bundles.pins import Pin, applicable, node_environment
from serving.supervise import LAUNCHER

Tell = Callable[[str], None]

LOCK_FILE: Final = "lock.txt"
BASE_FILE: Final = "zz_bascule_base.pth"
"""Read last of its folder's, so that what pinned packages add to the path stands before ours."""
KEPT_LINES: Final = 40
SHOWN_PINS: Final = 3
REASON_CHARACTERS: Final = 400
STARTS: Final = "import serving.worker.__main__"
SHOWN: Final = ("Collecting", "Downloading", "Using cached", "Installing", "Resolved", "Prepared")


def build_environment(environments: Environments, pins: Sequence[Pin], tell: Tell) -> Environment:
    """Return the environment for a lock, building it if it is not there.

    Two builders of one environment at once: the second waits, and finds it finished.

    Args:
        environments: Where it is kept.
        pins: What the lock says.
        tell: Gets a line of progress now and then.

    Raises:
        ModelLoadError: A package cannot be had, or a worker does not start with them; the message
            names the package and the reason.
    """
    key = environment_key(pins)
    with environments.locked(key, is_patient=False) as is_first:
        if not is_first:
            tell(f"environment {key}: waiting for the process that builds it")
    with environments.locked(key):
        found = environments.find(pins)
        if found is not None:
            return found
        return _built(environments.folder / key, _wanted(pins), tell)


def _wanted(pins: Sequence[Pin]) -> tuple[Pin, ...]:
    wanted = applicable(pins, node_environment())
    if not wanted:
        raise ModelLoadError("the lock file pins no package for this machine: leave it out")
    return wanted


def _built(folder: Path, pins: Sequence[Pin], tell: Tell) -> Environment:
    began_s = time.perf_counter()
    tell(f"environment {folder.name}: creating it for {_count_text(pins)}")
    if folder.exists():  # whoever built it has died
        shutil.rmtree(folder)
    try:
        venv.EnvBuilder(symlinks=True).create(folder)
        _install(folder, pins, tell)
        packages = Path(_site_packages(folder))
        (packages / BASE_FILE).write_text(_base_lines(), encoding="utf-8")
        tell(f"environment {folder.name}: starting a worker's imports in it")
        _require_start(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    environment = Environment(
        key=folder.name,
        folder=str(folder),
        packages=tuple(f"{pin.name}=={pin.version}" for pin in pins),
        python_version=sys.version.split()[0],
        build_s=round(time.perf_counter() - began_s, 3),
        size_bytes=sum(path.lstat().st_size for path in folder.rglob("*")),
    )
    write_mark(folder, environment)
    tell(f"environment {folder.name}: ready after {environment.build_s:.1f} s")
    return environment


def _install(folder: Path, pins: Sequence[Pin], tell: Tell) -> None:
    lock = folder / LOCK_FILE
    lock.write_text("".join(f"{pin.text()}\n" for pin in pins), encoding="utf-8")
    last: deque[str] = deque(maxlen=KEPT_LINES)
    process = _started(_installer(folder, lock), folder)
    for line in _lines(process):
        last.append(line)
        if line.lstrip().startswith(SHOWN):
            tell(f"environment {folder.name}: {line.strip()[:100]}")
    if process.wait() != 0:
        raise ModelLoadError(
            f"the environment for {_count_text(pins)} cannot be built: {_reason(list(last))}; "
            "correct the lock file, let pip reach an index that has it, or do not isolate the "
            "version (--dependencies warn)"
        )


def _installer(folder: Path, lock: Path) -> tuple[str, ...]:
    python = str(interpreter(folder))
    # --no-index and the like come from pip's own configuration.
    if importlib.util.find_spec("pip") is not None:
        flags = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
        words: tuple[str, ...] = (sys.executable, "-m", "pip", "--python", python, "install")
        return (*words, *flags, "--no-deps", "--only-binary", ":all:", "-r", str(lock))
    uv = shutil.which("uv")
    if uv is None:
        raise ModelLoadError(
            "an environment cannot be built: neither pip nor uv is there; install pip beside "
            "Bascule with `python -m ensurepip`"
        )
    words = (uv, "pip", "install", "--python", python, "--no-deps", "--only-binary", ":all:")
    return (*words, "-r", str(lock))


def _started(argv: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start a program that dies with this process, in a folder that holds no modules."""
    parent, niceness = str(os.getpid()), str(os.getpriority(os.PRIO_PROCESS, 0))
    return subprocess.Popen(  # noqa: S603  our own programs only
        (sys.executable, "-I", "-S", "-B", str(LAUNCHER), parent, niceness, "-", *argv),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    if process.stdout is not None:
        with process.stdout as stream:
            for line in stream:
                yield line.rstrip()


def _require_start(folder: Path) -> None:
    """Let a worker's modules be imported: what is pinned may be too old for Bascule itself."""
    process = _started((str(interpreter(folder)), "-c", STARTS), folder)
    said = list(_lines(process))
    if process.wait() != 0:
        raise ModelLoadError(
            "the pinned packages were installed, and a worker does not start with them: "
            f"{said[-1][:REASON_CHARACTERS] if said else 'it said nothing'}; pin versions that "
            "Bascule runs with, or do not isolate the version (--dependencies warn)"
        )


def _site_packages(folder: Path) -> str:
    names = {"base": str(folder), "platbase": str(folder)}
    return sysconfig.get_path("purelib", "venv", vars=names)


def _base_lines() -> str:
    """Write what a site-packages folder says to have ours behind it, editable installs included."""
    folders = [folder for folder in site.getsitepackages() if Path(folder).is_dir()]
    return "".join(f"import site; site.addsitedir({folder!r})\n" for folder in folders)


def _reason(lines: Sequence[str]) -> str:
    """Find what the installer says of its failure: its last line of an error, or its last one."""
    errors = [line for line in lines if line.lstrip().lower().startswith("error")]
    told = [*lines[-1:], *errors][-1] if lines else "it said nothing"
    return told.strip()[:REASON_CHARACTERS].rstrip(".")


def _count_text(pins: Sequence[Pin]) -> str:
    shown = ", ".join(f"{pin.name}=={pin.version}" for pin in pins[:SHOWN_PINS])
    return shown if len(pins) <= SHOWN_PINS else f"{shown} and {len(pins) - SHOWN_PINS} more"
