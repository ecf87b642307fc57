from __future__ import annotations

from itertools import chain, islice

import pytest

from vqgan_cli.core.data.sampler import SeededBatchSampler, sequential_batches


def stream(
    count: int, length: int = 10, batch_size: int = 4, seed: int = 0, **options: int
) -> list[tuple[int, int]]:
    """The first ``count`` samples of one sampler."""
    batches = SeededBatchSampler(length, batch_size, seed, **options)
    return list(islice(chain.from_iterable(batches), count))


@pytest.mark.parametrize(("length", "batch_size"), [(10, 4), (12, 4), (3, 8), (1, 2)])
def test_every_epoch_holds_every_sample_once(length: int, batch_size: int) -> None:
    samples = stream(length * 5, length, batch_size)
    for epoch in range(5):
        part = samples[epoch * length : (epoch + 1) * length]
        assert {sample[0] for sample in part} == {epoch}
        assert sorted(sample[1] for sample in part) == list(range(length))
    assert all(len(batch) == batch_size for batch in islice(SeededBatchSampler(length, batch_size, 0), 9))


def test_order_depends_on_seed_and_epoch() -> None:
    first = stream(60, length=20)
    assert first == stream(60, length=20)
    assert first != stream(60, length=20, seed=1)
    assert [p for _, p in first[:20]] != [p for _, p in first[20:40]]
    assert stream(6, length=4, shuffle=False) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]


@pytest.mark.parametrize("start", [0, 1, 7, 10, 23, 40])
def test_resuming_anywhere_equals_going_on(start: int) -> None:
    """Oracle: the stream that was not interrupted, whatever the batch size afterwards."""
    whole = stream(100)
    assert stream(60, start=start) == whole[start : start + 60]
    assert stream(60, batch_size=7, start=start) == whole[start : start + 60]


def test_an_iterator_begins_anew_each_time() -> None:
    sampler = SeededBatchSampler(10, 4, 0, start=5)
    assert next(iter(sampler)) == next(iter(sampler))


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_partition_the_stream(world_size: int) -> None:
    """Oracle: the stream of a single process with a batch as large as all ranks' together."""
    start, batch_size = 13, 4
    ranks = [
        SeededBatchSampler(10, batch_size, 0, rank=rank, world_size=world_size, start=start)
        for rank in range(world_size)
    ]
    rounds = list(islice(zip(*ranks, strict=True), 6))
    joined = [list(chain.from_iterable(round_)) for round_ in rounds]
    alone = SeededBatchSampler(10, batch_size * world_size, 0, start=start)
    assert joined == list(islice(alone, 6))


@pytest.mark.parametrize(
    ("length", "batch_size", "world_size"), [(10, 4, 1), (10, 4, 3), (2, 4, 3), (12, 3, 2)]
)
def test_one_pass_visits_everything_once(length: int, batch_size: int, world_size: int) -> None:
    shares = [
        sequential_batches(length, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    samples = [sample for share in shares for batch in share for sample in batch]
    assert samples == [(0, position) for position in range(length)]
    assert all(0 < len(batch) <= batch_size for share in shares for batch in share)
    sizes = [sum(map(len, share)) for share in shares]
    assert max(sizes) - min(sizes) <= 1
