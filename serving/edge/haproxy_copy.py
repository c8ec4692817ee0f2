"""HAProxy's packaged program, copied into the run folder with JSON in place of its HTML replies.

The packaged file is never changed, and a program that an operator configured is run as it is. So
is the packaged one where the copy is not as expected, or may not be run (a `noexec` folder): then
requests that are no HTTP get HAProxy's own HTML.
"""

import subprocess
from pathlib import Path
from typing import Final

import structlog

from serving.edge.haproxy_program import speaking_json

log = structlog.get_logger(__name__)

FOLDER: Final = "bin"
TRIAL_LIMIT_S: Final = 5.0


def speaking_copy(program: Path, folder: Path) -> Path:
    """Copy a program into a folder; return what shall be run."""
    content = speaking_json(program.read_bytes())
    if content is None:
        log.warning("haproxy_keeps_html", reason="its texts are not those of HAProxy 2.8")
        return program
    try:
        copy = _made(program, folder / FOLDER, content)
        subprocess.run(  # noqa: S603  the copy of our own program
            [copy, "-v"], check=True, capture_output=True, timeout=TRIAL_LIMIT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("haproxy_keeps_html", reason=f"its copy does not run: {error}")
        return program
    return copy


def _made(program: Path, place: Path, content: bytes) -> Path:
    place.mkdir(exist_ok=True, mode=0o700)
    _link(place / "lib", program.parent / "lib")  # its libraries are looked for beside it
    return _replaced(place / program.name, content)


def _replaced(path: Path, content: bytes) -> Path:
    """Write a program beside one of its name that may be running, and put it in its place."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o700)
    fresh.write_bytes(content)
    return fresh.replace(path)


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target.resolve())
