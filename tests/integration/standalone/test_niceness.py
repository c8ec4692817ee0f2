"""Standing back among threads and among sessions: begun by a launcher, ended by the program."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.supervise import LAUNCHER

OWN = Path("/proc/self/autogroup")
TOLD = "print(os.getpriority(os.PRIO_PROCESS, 0), *niceness.OWN.read_text().split()[-1:])"
HEAD = "import os; from serving import niceness; "
NOBODY = 2**22
"""No process has this id."""

pytestmark = pytest.mark.skipif(not OWN.exists(), reason="this kernel has no niceness of sessions")


def said(code: str, *launch: str, is_session: bool = True) -> list[int]:
    """Run code in a process of its own; return the niceness of its thread and of its session."""
    done = subprocess.run(
        (*launch, sys.executable, "-c", HEAD + code),
        capture_output=True,
        text=True,
        check=True,
        start_new_session=is_session,
    )
    return [int(word) for word in done.stdout.split()]


def launched(how_far: int) -> tuple[str, ...]:
    """Return what starts a program that stands back."""
    return (sys.executable, "-I", "-S", str(LAUNCHER), "-", str(how_far), "-")


def test_a_session_stands_back_until_its_program_ends_that() -> None:
    """It needs no rights that users lack, whichever niceness threads may have."""
    ended = "import time\nwhile not niceness.end_niceness(): time.sleep(0.05)\n"
    assert said(TOLD, *launched(7))[1] == 7
    assert said(ended + TOLD, *launched(7)) == [0, 0]


def test_nobody_changes_a_session_of_others() -> None:
    """A program that is started within a session leaves the choice to who began it.

    The session that everything began in has no niceness: nothing is read there.
    """
    before = [int(word) for word in OWN.read_text().split()[-1:]]
    assert said(TOLD, *launched(7), is_session=False)[1:] == before
    assert said("niceness.end_niceness(); " + TOLD, is_session=False)[1:] == before


def test_a_session_that_was_let_stand_back_can_be_left() -> None:
    """A program of it computes like everybody else then; those that stay stand back."""
    begun = "niceness.let_session_stand_back(os.getpid(), 7)\nchild = os.fork()\n"
    left = "os.waitpid(child, 0) if child else niceness.leave_session()\n"
    assert said(begun + left + TOLD)[1::2] == [0, 7]


def test_where_sessions_have_no_niceness_nothing_happens() -> None:
    """What cannot be read or written there is left alone."""
    tried = f"niceness.let_session_stand_back({NOBODY}, 7); "
    missing = "niceness.OWN = niceness.OWN.with_name('none'); print(int(niceness.end_niceness())); "
    assert said(tried + missing) == [1]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="takes a right away from root"
)
def test_who_may_not_end_niceness_is_known() -> None:
    """So nobody stands back for good."""
    asked = "print(int(niceness.may_be_ended()))"
    assert said(asked) == [1]
    assert said(asked, "setpriv", "--bounding-set=-sys_nice") == [0]
