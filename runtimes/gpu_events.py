"""Xid errors: what the driver says of a GPU that fails, heard by NVML's events.

An Xid is a number. Some are a program's own fault and end nothing but its work; all others mean
that results of the GPU can no longer be relied upon until it is reset, or replaced.
"""

from dataclasses import dataclass
from typing import Final

from runtimes.gpu_probe import Nvml, NvmlRefusalError, if_told

XID_EVENT: Final = 0x8
TIMEOUT: Final = 10
GPU_IS_LOST: Final = 15
LOST_XID: Final = 79
MOST_AT_ONCE: Final = 100
APPLICATION_XIDS: Final = frozenset({13, 31, 43, 45, 68, 109})
"""Faults of one program: its own context is gone, the GPU goes on."""
WORDS: Final = {
    13: "graphics engine exception",
    31: "memory page fault",
    43: "GPU stopped processing",
    45: "a program's work was removed",
    48: "double-bit ECC error",
    61: "internal micro-controller breakpoint",
    62: "internal micro-controller halt",
    63: "ECC page retirement or row remapping",
    64: "ECC page retirement or row remapping failed",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    92: "high single-bit ECC error rate",
    94: "contained ECC error",
    95: "uncontained ECC error",
    119: "GSP did not answer",
    120: "GSP error",
}
"""Of the ones that are met most."""


@dataclass(frozen=True, slots=True)
class Xid:
    """One error of one GPU."""

    uuid: str
    """Empty: a GPU that is lost cannot say which it is."""
    number: int

    @property
    def is_fatal(self) -> bool:
        """Whether nothing that runs on the GPU can be relied upon."""
        return self.number not in APPLICATION_XIDS

    def __str__(self) -> str:
        """Name it for people: `Xid 79 (GPU has fallen off the bus)`."""
        words = WORDS.get(self.number)
        return f"Xid {self.number} ({words})" if words else f"Xid {self.number}"


class XidWatch:
    """Hears the errors of all GPUs of a node. For one thread at a time.

    It begins at the first `poll`, and again after NVML has refused: a driver may come later.
    """

    def __init__(self, nvml: Nvml) -> None:
        """Begin nothing yet."""
        self._nvml = nvml
        self._events: object | None = None

    def poll(self) -> tuple[Xid, ...]:
        """Return what has happened since the last call; nothing where nobody can tell."""
        if self._events is None and not self._open():
            return ()
        found: list[Xid] = []
        while len(found) < MOST_AT_ONCE:
            try:
                event = self._nvml.ask("EventSetWait_v2", self._events, 0)
            except NvmlRefusalError as error:
                if error.code == GPU_IS_LOST:
                    found.append(Xid("", LOST_XID))
                if error.code != TIMEOUT:
                    self.close()
                break
            uuid = if_told(self._nvml, "DeviceGetUUID", event.device) or ""
            name = uuid.decode() if isinstance(uuid, bytes) else str(uuid)
            found.append(Xid(name, int(event.eventData)))
        return tuple(found)

    def close(self) -> None:
        """Hear no more; the next `poll` begins again."""
        if self._events is None:
            return
        if_told(self._nvml, "EventSetFree", self._events)
        self._events = None
        if_told(self._nvml, "Shutdown")

    def _open(self) -> bool:
        try:
            self._nvml.ask("Init")
        except NvmlRefusalError:
            return False
        try:
            events = self._nvml.ask("EventSetCreate")
            count = int(self._nvml.ask("DeviceGetCount"))
            handles = [self._nvml.ask("DeviceGetHandleByIndex", one) for one in range(count)]
        except NvmlRefusalError:
            if_told(self._nvml, "Shutdown")
            return False
        for handle in handles:  # one that has no such events is heard of in no other way
            if_told(self._nvml, "DeviceRegisterEvents", handle, XID_EVENT, events)
        self._events = events
        return True
