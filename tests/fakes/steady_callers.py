"""Threads that ask the same thing again and again, whatever it is."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def calling(ask: Callable[[], object], callers: int) -> Iterator[list[object]]:
    """Ask again and again from so many threads until the block ends; every answer must come."""
    is_over = threading.Event()
    answers: list[object] = []

    def call() -> None:
        while not is_over.is_set():
            answers.append(ask())

    with ThreadPoolExecutor(callers) as pool:
        tasks = [pool.submit(call) for _ in range(callers)]
        try:
            yield answers
        finally:
            is_over.set()
        for task in tasks:
            task.result()
