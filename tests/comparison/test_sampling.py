from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantus_vit.comparison.cases import Case
from quantus_vit.comparison.sampling import Selection, balanced_sample, select

NAMES = ("COVID-19", "Non-COVID", "Normal")


def labels_of(*counts: int) -> list[int]:
    return [label for label, count in enumerate(counts) for _ in range(count)]


def selected(labels: list[int], count: int) -> Selection:
    cases = [Case(index, f"{index}.png", NAMES[label], label) for index, label in enumerate(labels)]
    return select(cases, NAMES, count)


def test_the_papers_sample_has_29_of_each_class() -> None:
    selection = selected(labels_of(100, 100, 100), 87)
    assert selection.taken == dict.fromkeys(NAMES, 29)
    assert selection.describe() == "87 images: 29 COVID-19, 29 Non-COVID, 29 Normal."


def test_a_scarce_class_gives_all_and_the_others_fill_up() -> None:
    selection = selected(labels_of(26, 79, 52), 87)
    assert list(selection.taken.values()) == [26, 31, 30]
    assert set(range(26)) <= {case.index for case in selection.cases}
    assert "The split holds no more of COVID-19; the other classes fill the sample." in selection.describe()


def test_a_small_split_gives_all_it_has_and_says_so() -> None:
    selection = selected(labels_of(15, 16, 3), 87)
    assert sorted(case.index for case in selection.cases) == list(range(34))
    assert "87 were asked for, but the split holds no more" in selection.describe()


def test_seed_decides_and_a_larger_sample_keeps_the_smaller_one() -> None:
    labels = labels_of(40, 40, 40)
    small, large = balanced_sample(labels, 9, 3, seed=4), balanced_sample(labels, 30, 3, seed=4)
    assert set(small) < set(large)
    assert balanced_sample(labels, 9, 3, seed=4) == small
    assert set(balanced_sample(labels, 9, 3, seed=5)) != set(small)


def test_cases_of_one_image_are_told_from_images() -> None:
    cases = [Case(0, "a.png", "COVID-19", 0), Case(0, "a.png", "Normal", 2), Case(1, "b.png", "Normal", 2)]
    text = select(cases, ("COVID-19", "Normal"), 3).describe()
    assert text == "3 cases of 2 images: 1 COVID-19, 2 Normal."


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 5))
def test_a_sample_is_as_balanced_as_it_can_be(labels: list[int], count: int, seed: int) -> None:
    indices = balanced_sample(labels, count, 3, seed)
    there, taken = Counter(labels), Counter(labels[index] for index in indices)
    assert len(set(indices)) == len(indices) == min(count, len(labels))
    for label in range(3):
        # A class that could give more has at most one image less than any other.
        if taken[label] < there[label]:
            assert taken[label] >= max(taken.values()) - 1


def test_any_beginning_is_balanced() -> None:
    labels = labels_of(20, 20, 20)
    indices = balanced_sample(labels, 60, 3)
    for length in range(1, 60):
        counts = Counter(labels[index] for index in indices[:length])
        assert max(counts.values()) - min(counts[label] for label in range(3)) <= 1


def test_bad_labels() -> None:
    with pytest.raises(ValueError, match="data set is empty"):
        balanced_sample([], 3, 3)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2, got 0\.\.3"):
        balanced_sample([0, 3], 2, 3)
