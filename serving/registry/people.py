"""Who asks: the user of this process, as the system knows it."""

import os
import pwd


def current_user() -> str:
    """Return the name of the user who runs this process."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
