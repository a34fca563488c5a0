"""Numbers that belong to a seed and a row: known answers, moments, and nothing else decides."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffusion_lessons.math.randomness import (
    MASK,
    RowGenerator,
    derived,
    philox,
    rand,
    randn_like,
    random_integers,
    seeded,
    spread,
)

CPU = torch.device("cpu")
SAME = {"rtol": 0, "atol": 0}

# From the known-answer file of Salmon et al.'s library (philox4x32, 10 rounds).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK,) * 4, (MASK, MASK), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_its_authors_known_answers(counter, key, words):
    assert philox(counter, key) == words
    for kind in (torch.tensor, np.array):
        assert tuple(int(word[0]) for word in philox([kind([w]) for w in counter], key)) == words


def test_normal_numbers_are_normal():
    x = randn_like(torch.empty(500, 400), RowGenerator(3)).double()
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 0.01
    assert x.mean().abs() < 0.01
    assert abs(x.std() - 1) < 0.01
    between_rows = torch.corrcoef(x[:50])
    assert (between_rows - torch.eye(50)).abs().max() < 0.25  # 4.5 deviations of 1 / sqrt(400)


def test_uniform_numbers_are_uniform_and_reach_neither_end():
    u = RowGenerator(3).uniform((500, 400))
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 0.01
    assert u.min() > 0
    assert u.max() < 1


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=6, unique=True),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_a_row_is_the_same_alone_and_beside_any_others(seed, numbers, width, before):
    rows = torch.tensor(numbers)
    together, alone = RowGenerator(seed, rows), RowGenerator(seed, rows[-1:])
    for _ in range(before):
        together.normal((len(rows), 3)), alone.normal((1, 3))
    shape = (len(rows), width)
    torch.testing.assert_close(together.normal(shape)[-1:], alone.normal((1, width)), **SAME)


def test_rows_seeds_and_draws_all_differ():
    def drawn(seed, number, draw):
        generator = RowGenerator(seed, torch.tensor([number]))
        return [generator.normal((1, 4)) for _ in range(draw + 1)][-1]

    every = [drawn(s, n, d) for s in (0, 1, 2**40) for n in (0, 1, 2**33) for d in (0, 1)]
    assert len({tuple(x.flatten().tolist()) for x in every}) == len(every)


def test_a_number_in_a_row_does_not_depend_on_how_long_the_row_is():
    short, long = (RowGenerator(0).normal((2, width)) for width in (5, 11))
    torch.testing.assert_close(long[:, :4], short[:, :4], **SAME)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_shares_of_several_processes_make_up_the_whole(size):
    def drawn(n, generator):
        return [
            randn_like(torch.empty(n, 3), generator),
            rand((n, 2), generator, CPU),
            random_integers(0, 5, n, generator, CPU),
            spread(n, generator, CPU),
        ]

    whole = drawn(12, RowGenerator(derived(3, 7)))
    shares = [
        drawn(12 // size, RowGenerator(derived(3, 7), rank=rank, size=size)) for rank in range(size)
    ]
    for i, of_all in enumerate(whole):
        torch.testing.assert_close(torch.cat([share[i] for share in shares]), of_all, **SAME)


def test_what_torch_itself_draws_belongs_to_the_batch():
    generators = [RowGenerator(5, rank=rank, size=2) for rank in (0, 1)]
    one, other = (torch.rand(2, generator=generator) for generator in generators)
    assert torch.equal(one, other)


def test_integers_fill_their_range_evenly():
    counts = random_integers(1, 4, 40_000, RowGenerator(0), CPU).bincount()
    assert counts[0] == 0
    assert stats.chisquare(counts[1:].numpy()).pvalue > 0.01


def test_spread_numbers_are_evenly_apart_and_each_is_uniform():
    firsts = []
    for seed in range(400):
        u = spread(8, RowGenerator(seed), CPU)
        gaps = (u.sort().values.diff() - 1 / 8).abs()
        assert gaps.max() < 1e-12
        firsts.append(u[0].item())
    assert stats.kstest(firsts, "uniform").pvalue > 0.01


def test_a_plain_generator_draws_as_torch_does():
    x = torch.empty(3, 2)
    torch.testing.assert_close(
        randn_like(x, torch.Generator().manual_seed(1)),
        torch.randn(3, 2, generator=torch.Generator().manual_seed(1)),
    )
    torch.testing.assert_close(
        random_integers(1, 9, 5, torch.Generator().manual_seed(1), CPU),
        torch.randint(1, 10, (5,), generator=torch.Generator().manual_seed(1)),
    )


@given(st.integers(0, 2**62), st.integers(0, 2**40), st.integers(0, 2**40))
def test_each_use_has_a_seed_of_its_own(seed, a, b):
    assert 0 <= derived(seed, a) < 2**63
    if a != b:
        assert derived(seed, a) != derived(seed, b)
        assert derived(seed, a, b) != derived(seed, b, a)
    assert torch.equal(
        torch.rand(1, generator=seeded(seed, a)), torch.rand(1, generator=seeded(seed, a))
    )


def test_a_batch_of_another_size_than_the_numbers_is_refused():
    with pytest.raises(ValueError, match="the batch has 3 rows, and there are 2 numbers of rows"):
        RowGenerator(0, torch.arange(2)).normal((3, 4))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "1", None])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises((ValueError, TypeError), match="seed"):
        RowGenerator(seed)
