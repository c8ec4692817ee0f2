"""Python's garbage collector waits while a thread builds what has no cycles.

It looks through all objects that there are, and the whole process stands still meanwhile: over a
second beside the table of 700,000 labels, again and again while it grows. What such a table was is
gone when its last reference goes; the few cycles that others leave meanwhile are found afterwards.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Collect no garbage within the block, whose objects shall be gone at its end.

    Of blocks in several threads, the end of the one that began first ends the pause.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
