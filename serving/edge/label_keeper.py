"""Has a node's labels kept: where, within which bounds, and moved to where the log is kept."""

import asyncio
import os
import time
from typing import Final

import structlog

from serving.predictions.labels.store import LabelStore
from serving.predictions.wanted import log_order
from serving.settings import Settings

TEND_S: Final = 10.0
NODE_CHARACTERS: Final = 12

log = structlog.get_logger(__name__)


class LabelKeeper:
    """Owns the store of one edge."""

    def __init__(self, settings: Settings, node: str) -> None:
        """Write nothing yet.

        Args:
            settings: Of the instance.
            node: This node's name.
        """
        order = log_order(settings)
        stem = f"edge{node[:NODE_CHARACTERS]}-{os.getpid()}"
        self.store = None if order is None else LabelStore(order, stem, time.time_ns)
        """None: no prediction is logged."""

    async def keep(self) -> None:
        """Tend to the store until cancelled; does nothing where there is none."""
        while self.store is not None:
            await asyncio.sleep(TEND_S)
            try:
                await asyncio.to_thread(self.store.tend)
            except Exception as error:  # noqa: BLE001  process edge: stores raise what they like
                log.warning("labels_not_tended", reason=str(error)[:200])

    async def close(self) -> None:
        """Finish the segment."""
        if self.store is None:
            return
        try:
            await asyncio.to_thread(self.store.close)
        except Exception as error:  # noqa: BLE001  process edge: what is written stays
            log.warning("labels_not_moved", reason=str(error)[:200])
