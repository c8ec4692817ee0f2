"""Signals to stop: which are one order, and which are a second one."""

from datetime import UTC, datetime

import pytest

from serving.standalone.stop_orders import SAME_ORDER_S, StopOrders


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now_s = 7.0

    def monotonic_s(self) -> float:
        """Return what was set."""
        return self.now_s

    def utc_now(self) -> datetime:
        """Nobody asks."""
        return datetime.now(UTC)


@pytest.fixture
def clock() -> HandClock:
    """Stand still until a test moves it."""
    return HandClock()


@pytest.fixture
def done() -> list[str]:
    """What the orders led to."""
    return []


@pytest.fixture
def orders(clock: HandClock, done: list[str]) -> StopOrders:
    """Hear none yet."""
    return StopOrders(clock, lambda: done.append("begins"), lambda: done.append("ends at once"))


def test_an_order_that_comes_twice_is_one(
    orders: StopOrders, clock: HandClock, done: list[str]
) -> None:
    """By process 1 and directly, in the same moment: calls in flight are finished all the same."""
    orders.hear()
    orders.hear()
    clock.now_s += SAME_ORDER_S / 2
    orders.hear()

    assert done == ["begins"]


def test_a_later_one_ends_at_once(orders: StopOrders, clock: HandClock, done: list[str]) -> None:
    """It is somebody who does not want to wait."""
    orders.hear()
    clock.now_s += SAME_ORDER_S
    orders.hear()

    assert done == ["begins", "ends at once"]


def test_another_hangup_says_nothing_new(
    orders: StopOrders, clock: HandClock, done: list[str]
) -> None:
    """Whenever it comes, and whatever came before; a signal to end after one does."""
    orders.hear_hangup()
    clock.now_s += SAME_ORDER_S
    orders.hear_hangup()
    assert done == ["begins"]

    orders.hear()
    assert done == ["begins", "ends at once"]
