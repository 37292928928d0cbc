"""The order of images: a function of seed and epoch, shared out among the processes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcnseg.data.sampler import Stream, TrainBatches, ValidationImages

many = settings(max_examples=60, deadline=None, derandomize=True)


def batches(count=20, batch_size=4, seed=0, epoch=0, **options):
    sampler = TrainBatches(count, batch_size, seed, **options)
    sampler.set_epoch(epoch)
    result = list(sampler)
    assert len(sampler) == len(result)
    return result


def indices(found):
    return [draw.index for batch in found for draw in batch]


def two_sizes(count):
    return [(30, 40) if index % 3 else (40, 30) for index in range(count)]


def test_the_order_is_a_function_of_seed_and_epoch():
    orders = {(seed, epoch): tuple(indices(batches(seed=seed, epoch=epoch))) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len(set(orders.values())) == 6
    assert all(tuple(indices(batches(seed=seed, epoch=epoch))) == order for (seed, epoch), order in orders.items())


def test_an_epoch_can_be_repeated_and_taken_in_any_order():
    sampler = TrainBatches(20, 4, 0)
    first = list(sampler)
    sampler.set_epoch(5)
    assert list(sampler) == batches(epoch=5) != first
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_the_trainer_finds_set_epoch():
    sampler = TrainBatches(20, 4, 0)
    sampler.sampler.set_epoch(3)
    assert list(sampler) == batches(epoch=3)


@many
@given(count=st.integers(1, 50), batch_size=st.integers(1, 12), epoch=st.integers(0, 5))
def test_each_image_comes_at_most_once_an_epoch(count, batch_size, epoch):
    found = batches(count, batch_size, epoch=epoch)
    assert {len(batch) for batch in found} == {batch_size}
    if batch_size <= count:
        assert len(found) == count // batch_size
        assert max(Counter(indices(found)).values()) == 1
    assert set(indices(found)) <= set(range(count))


def test_each_image_comes_exactly_once_where_the_batch_divides_the_set():
    assert sorted(indices(batches())) == list(range(20))


def test_draws_carry_the_epoch_and_a_turn_of_their_own():
    found = [draw for batch in batches(epoch=7) for draw in batch]
    assert {draw.epoch for draw in found} == {7}
    assert len({draw.turn for draw in found}) == 20


def test_replacement_draws_some_twice_with_different_turns():
    found = [draw for batch in batches(count=40, replacement=True) for draw in batch]
    most, times = Counter(draw.index for draw in found).most_common(1)[0]
    assert len(found) == 40
    assert times > 1
    assert len({draw.turn for draw in found if draw.index == most}) == times


def test_replacement_draws_every_image_in_the_long_run():
    counts = Counter(index for epoch in range(100) for index in indices(batches(replacement=True, epoch=epoch)))
    assert set(counts) == set(range(20))
    assert all(60 < times < 140 for times in counts.values())  # 100 expected, 4 standard deviations


@pytest.mark.parametrize("batch_size", [12, 36])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("sizes", [None, two_sizes(30)])
def test_the_processes_together_see_the_batches_of_one(batch_size, world_size, sizes):
    whole = batches(30, batch_size, epoch=2, sizes=sizes)
    shares = [
        batches(30, batch_size, epoch=2, sizes=sizes, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert len({len(part) for part in parts}) == 1
        together = {draw for part in parts for draw in part}
        assert set(batch) <= together
        assert {draw.index for draw in together} == {draw.index for draw in batch}
        if len(batch) % world_size == 0:
            assert sum(map(len, parts)) == len(batch)


@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 2), (3, 2), (10, 4), (0, 1), (-2, 3)])
def test_a_batch_that_the_processes_do_not_divide_is_refused(batch_size, world_size):
    with pytest.raises(
        ValueError, match=f"data.batch_size={batch_size} must be a positive multiple of the {world_size}"
    ):
        TrainBatches(20, batch_size, 0, world_size=world_size)


@pytest.mark.parametrize("sizes", [None, [(2, 3)] * 20 + [(3, 2)] * 3])
def test_an_epoch_ends_with_a_full_step(sizes):
    batches = list(TrainBatches(23, 2, 0, accumulate=4, sizes=sizes))
    assert len(batches) in (8, 12)
    assert len(batches) % 4 == 0
    assert len(list(TrainBatches(23, 2, 0, accumulate=50, sizes=sizes))) >= 11  # too few for a step: all of them


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="the training set is empty"):
        TrainBatches(0, 1, 0)


@many
@given(
    sizes=st.lists(st.sampled_from([(30, 40), (40, 30), (20, 20)]), min_size=1, max_size=40),
    batch_size=st.integers(1, 8),
    epoch=st.integers(0, 3),
)
def test_a_group_holds_one_size_and_the_groups_hold_every_image_once(sizes, batch_size, epoch):
    found = batches(len(sizes), batch_size, epoch=epoch, sizes=sizes)
    assert all(len({sizes[draw.index] for draw in batch}) == 1 for batch in found)
    assert all(1 <= len(batch) <= batch_size for batch in found)
    assert sorted(indices(found)) == list(range(len(sizes)))


def test_groups_come_in_a_random_order():
    sizes = two_sizes(60)
    orders = {tuple(sizes[batch[0].index] for batch in batches(60, 2, seed, sizes=sizes)) for seed in range(4)}
    assert len(orders) == 4


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (3, 8), (5, 6)])
def test_a_set_smaller_than_a_batch_is_repeated_with_other_turns(count, batch_size):
    found = batches(count, batch_size)
    assert {len(batch) for batch in found} == {batch_size}
    for batch in found:
        counts = Counter(draw.index for draw in batch)
        assert set(counts) == set(range(count))
        assert max(counts.values()) - min(counts.values()) <= 1
    draws = [draw for batch in found for draw in batch]
    assert len(set(draws)) == len(draws)


@many
@given(count=st.integers(0, 200), world_size=st.integers(1, 9))
def test_every_validation_image_is_read_exactly_once(count, world_size):
    shares = [ValidationImages(count, rank, world_size) for rank in range(world_size)]
    assert sorted(draw.index for share in shares for batch in share for draw in batch) == list(range(count))
    assert [len(list(share)) for share in shares] == [len(share) for share in shares]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(len(batch) == 1 or list(share) == [[]] for share in shares for batch in share)


def test_a_training_is_its_epochs_one_after_the_other():
    epochs = TrainBatches(10, 4, 3)
    whole = list(Stream(epochs, 7))
    assert whole == [batch for epoch in range(4) for batch in epochs.of_epoch(epoch)][:7]
    assert len(Stream(epochs, 7)) == 7


@many
@given(
    start=st.integers(0, 40),
    replacement=st.booleans(),
    accumulate=st.integers(1, 5),
    sized=st.booleans(),
    world_size=st.sampled_from([1, 2]),
)
def test_a_training_can_go_on_from_any_batch(start, replacement, accumulate, sized, world_size):
    options = {"replacement": replacement, "accumulate": accumulate, "world_size": world_size}
    epochs = TrainBatches(9, 2, 1, sizes=two_sizes(9) if sized else None, **options)
    whole, rest = Stream(epochs, 50), Stream(epochs, 50, start)
    assert list(rest) == list(whole)[start:]
    assert len(rest) == 50 - start
    assert [rest.epoch(number) for number in range(start, 50)] == [batch[0].epoch for batch in rest]
