"""Publishing and subscribing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.runtime.event_bus import EventAndTime, EventBus, Subscription
from servable_core.runtime.executor import start_thread
from servable_core.testing import FakeClock


def test_nobody_needs_to_subscribe() -> None:
    """The event is lost."""
    EventBus[str]().publish("event")


def test_subscribers_get_events_in_order_with_their_time() -> None:
    """From their subscription until its end."""
    clock, received = FakeClock(wall_time=100.0), list[EventAndTime[str]]()
    bus: EventBus[str] = EventBus(clock)
    bus.publish("too early")
    with bus.subscribe(received.append):
        bus.publish("first")
        clock.advance(5)
        bus.publish("second")
    bus.publish("too late")

    assert received == [EventAndTime("first", 100.0), EventAndTime("second", 105.0)]


def test_a_slow_callback_does_not_hold_up_another_publisher() -> None:
    """No lock is held while a callback runs."""
    gate, entered, received = threading.Event(), threading.Event(), list[str]()
    bus: EventBus[str] = EventBus()

    def receive(stamped: EventAndTime[str]) -> None:
        if stamped.event == "slow":
            entered.set()
            assert gate.wait(10)
        received.append(stamped.event)

    with bus.subscribe(receive), ThreadPoolExecutor() as pool:
        publishing = pool.submit(bus.publish, "slow")
        assert entered.wait(10)
        bus.publish("fast")
        assert received == ["fast"]
        gate.set()
        publishing.result(10)


def test_close_waits_for_a_callback_under_way() -> None:
    """When it returns, nothing runs any more."""
    gate, entered = threading.Event(), threading.Event()
    bus: EventBus[str] = EventBus()

    def receive(_stamped: EventAndTime[str]) -> None:
        entered.set()
        assert gate.wait(10)

    subscription = bus.subscribe(receive)
    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(bus.publish, "event")
        assert entered.wait(10)
        closing = pool.submit(subscription.close)
        assert not closing.done()
        gate.set()
        closing.result(10)
        assert publishing.done() or publishing.result(10) is None
    bus.publish("later")


def test_a_callback_may_use_the_bus_and_end_its_own_subscription() -> None:
    """Neither waits for itself."""
    bus, received = EventBus[str](), list[str]()
    subscriptions: list[Subscription[str]] = []

    def receive(stamped: EventAndTime[str]) -> None:
        received.append(stamped.event)
        subscriptions[0].close()
        bus.publish("nested")

    subscriptions.append(bus.subscribe(receive))
    bus.publish("event")

    assert received == ["event"]


def test_a_failing_callback_does_not_keep_the_event_from_others() -> None:
    """Its error reaches the publisher afterwards."""
    bus, received = EventBus[int](), list[int]()
    bus.subscribe(lambda stamped: received.append(1 // stamped.event))
    bus.subscribe(lambda stamped: received.append(stamped.event))

    with pytest.raises(ZeroDivisionError):
        bus.publish(0)

    assert received == [0]


def test_callbacks_that_end_their_subscription_at_the_same_time_do_not_wait_for_each_other() -> (
    None
):
    """As one-shot subscribers do, told by two threads."""
    bus, both_inside = EventBus[int](), threading.Barrier(2)
    subscriptions: list[Subscription[int]] = []

    def receive(_stamped: EventAndTime[int]) -> None:
        both_inside.wait(10)
        subscriptions[0].close()

    subscriptions.append(bus.subscribe(receive))
    threads = [start_thread(bus.publish, event, name=f"publisher-{event}") for event in range(2)]
    for thread in threads:
        thread.join(10)

    assert not any(thread.is_alive() for thread in threads)
