"""What the system refused, as one sentence: a disk that is full, a folder that may not be written.

Where a command knows more, it says so itself; what nobody caught ends here, not in a traceback.
"""

import errno
from typing import Final

from serving.registry.people import current_user

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_TEMPORARY_FOLDER: Final = "No usable temporary directory"  # `tempfile`'s words
FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def system_failure_text(error: OSError) -> str:
    """Return what happened, where, and what to do."""
    named = (error.filename, error.filename2)
    places = " → ".join(_shown(name) for name in named if name is not None)
    told = error.strerror or str(error) or type(error).__name__
    sentence = f"{places}: {told}" if places else told
    if told.startswith(NO_TEMPORARY_FOLDER):
        return f"{sentence}: set TMPDIR to a folder of your own"
    if error.errno in FULL:
        return f"{sentence}: free space{' there' * bool(places)}, or raise the limit, and try again"
    if error.errno in FORBIDDEN:
        return (
            f"{sentence}: user {current_user()} must be allowed to do that, or name another place"
        )
    return sentence


def _shown(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
