"""Batches of one shape, and work on threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from vqgan_cli.core.batching import Background, beside, full_batches, in_turns, one_late, prefetch


@pytest.mark.parametrize("count", [0, 1, 4, 5, 8])
def test_batches_are_full(count: int) -> None:
    """Invariant: every batch has 4 arrays; the indices name each input once, in order; the rest repeats the last."""
    batches = list(full_batches(((10 * i, np.full((2, 3), i)) for i in range(count)), 4))
    assert [index for indices, _ in batches for index in indices] == [10 * i for i in range(count)]
    for indices, arrays in batches:
        assert arrays.shape == (4, 2, 3)
        values = [index // 10 for index in indices]
        assert arrays[:, 0, 0].tolist() == values + values[-1:] * (4 - len(values))


def test_batches_of_one_may_differ_in_shape() -> None:
    arrays = [np.zeros((height, 3)) for height in (1, 2, 3)]
    assert [batch.shape for _, batch in full_batches(enumerate(arrays), 1)] == [
        (1, 1, 3),
        (1, 2, 3),
        (1, 3, 3),
    ]


def test_batches_are_made_as_they_are_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[tuple[int, np.ndarray]]:
        for index in range(100):
            taken.append(index)
            yield index, np.zeros(1)

    next(full_batches(items(), 4))
    assert taken == [0, 1, 2, 3]


def test_prefetch_is_map() -> None:
    """Oracle: the built-in ``map``, though later items are done earlier."""

    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item * item

    assert list(prefetch(slow_first, range(20), threads=4, ahead=8)) == [i * i for i in range(20)]


@pytest.mark.parametrize("ahead", [1, 5])
def test_prefetch_stays_in_its_bound(ahead: int) -> None:
    """Closed form: those that were given out, and ``ahead`` more."""
    items = iter(range(100))
    results = prefetch(abs, items, threads=3, ahead=ahead)
    assert [next(results), next(results)] == [0, 1]
    assert next(items) == 2 + ahead


def test_prefetch_works_ahead() -> None:
    """The second item is under way while the first is being used: else this would wait for ever."""
    second_started = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            second_started.set()
        return item

    results = prefetch(work, range(3), threads=1, ahead=2)
    next(results)
    assert second_started.wait(10)
    assert list(results) == [1, 2]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 20])
def test_in_turns_works_only_while_it_is_waited_for(count: int) -> None:
    """Oracle: the built-in ``map``; and when one is used, all of its turn are finished, and none of the next began."""
    began: list[int] = []
    ended: list[int] = []

    def work(item: int) -> int:
        began.append(item)
        time.sleep(0.01 if item % 4 == 0 else 0)
        ended.append(item)
        return item * item

    for place, result in enumerate(in_turns(work, range(count), threads=3, at_once=8)):
        assert result == place * place
        turn = min(count, place - place % 8 + 8)
        assert sorted(began) == sorted(ended) == list(range(turn))
    assert len(ended) == count


@pytest.mark.parametrize(("device", "at_once"), [("cpu", True), ("cuda", False)])
def test_only_a_network_on_the_cpu_takes_turns(device: str, at_once: bool) -> None:
    """A CPU's results come when all of them are there; others' come while the last one waits for what comes after."""
    used = threading.Event()

    def work(item: int) -> bool:
        return used.wait(0.3) if item == 3 else True

    results = beside(device, work, range(4), ahead=3 + at_once)
    next(results)
    used.set()
    assert [next(results) for _ in range(3)] == [True, True, not at_once]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_error_comes_where_the_result_would_have_come(device: str) -> None:
    results = beside(device, lambda item: 1 // (item - 2), range(5), ahead=4)
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_one_late_has_asked_for_the_next(count: int) -> None:
    """Closed form: all items in order, each when one more was taken from the source, if there is one."""
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(count):
            taken.append(number)
            yield number

    for place, item in enumerate(one_late(source())):
        assert item == place
        assert len(taken) == min(place + 2, count)
    assert len(taken) == count


@pytest.mark.parametrize("good", [0, 1, 2, 5])
def test_one_late_loses_nothing_to_an_error(good: int) -> None:
    """Closed form: all items before the error, then the error; and no more after it."""

    def source() -> Iterator[int]:
        yield from range(good)
        raise ZeroDivisionError

    items = one_late(source())
    assert [next(items) for _ in range(good)] == list(range(good))
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert list(items) == []


def test_one_late_ends_where_it_is_told_to() -> None:
    """Invariant: closed, it gives nothing more, before an error and at one; nor at an interrupt of the user."""

    def source(error: type[BaseException]) -> Iterator[int]:
        yield from (1, 2)
        raise error

    for taken in (1, 2):
        items = one_late(source(ZeroDivisionError))
        assert [next(items) for _ in range(taken)] == [1, 2][:taken]
        items.close()  # type: ignore[attr-defined]
        assert list(items) == []
    items = one_late(source(KeyboardInterrupt))
    assert next(items) == 1
    with pytest.raises(KeyboardInterrupt):
        next(items)


def test_background_does_every_job() -> None:
    done: list[int] = []
    with Background(2, ahead=3) as jobs:
        for number in range(20):
            jobs.submit(done.append, number)
    assert sorted(done) == list(range(20))


def test_background_waits_while_too_much_is_queued() -> None:
    """Invariant: at the return of submit number n, at least n - ahead jobs are done."""
    done: list[int] = []

    def job(number: int) -> None:
        time.sleep(0.002)
        done.append(number)

    with Background(1, ahead=3) as jobs:
        for number in range(1, 21):
            jobs.submit(job, number)
            assert len(done) >= number - 3


def test_background_raises_at_a_later_call() -> None:
    jobs = Background(1, ahead=1)
    jobs.submit(lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    with pytest.raises(ZeroDivisionError):
        jobs.submit(time.sleep, 0)


def test_background_raises_at_the_end() -> None:
    with pytest.raises(ZeroDivisionError), Background(1, ahead=10) as jobs:
        jobs.submit(lambda: 1 // 0)  # type: ignore[arg-type,return-value]
