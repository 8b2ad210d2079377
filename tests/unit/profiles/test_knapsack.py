"""The best set of models, held to what trying all of them finds."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from ttsw.profiles.knapsack import MOST_EXACT, Item, pack

_sizes = st.integers(1, 60).map(float)
_items = st.lists(st.tuples(_sizes, st.integers(0, 20).map(float), st.integers(0, 5).map(float)), max_size=9).map(
    lambda rows: [Item(f"m{number}", *row) for number, row in enumerate(rows)]
)


def taken(items, transient):
    return sum(item.cost for item in items) + max([transient, *(item.transient for item in items)])


def score(items):
    return len(items), sum(item.value for item in items), -sum(item.cost for item in items)


@given(items=_items, budget=st.integers(0, 200), transient=st.integers(0, 20))
def test_no_other_set_that_fits_is_better(items, budget, transient):
    found = pack(items, budget, transient)
    sets = [each for size in range(len(items) + 1) for each in combinations(items, size)]
    best = max(score(each) for each in sets if not each or taken(each, transient) <= budget)
    assert score(found) == best
    assert not found or taken(found, transient) <= budget


def test_more_models_come_before_more_valuable_ones_and_these_before_smaller_ones():
    large, small, other = Item("large", 8, value=9), Item("small", 4), Item("other", 5, value=1)
    assert pack([large, small, other], 9) == (small, other)
    assert pack([large, small], 8) == (large,)
    assert pack([small, Item("twin", 5)], 5) == (small,)


def test_a_model_whose_loading_takes_too_much_is_left_out():
    greedy = Item("greedy", 1, transient=100)
    assert pack([greedy, Item("a", 10), Item("b", 10)], 25) == (Item("a", 10), Item("b", 10))
    assert pack([greedy], 100) == ()


def test_twenty_models_of_nearly_one_size_are_no_trouble():
    items = [Item(f"m{number:02}", 10 + number / 100, number % 7, (number * 37) % 11) for number in range(MOST_EXACT)]
    found = pack(items, 108)
    assert len(found) == 10
    assert taken(found, 0) <= 108


def test_many_more_still_fit():
    items = [Item(f"m{number:03}", 1.0 + number % 3, number % 5) for number in range(200)]
    found = pack(items, 50)
    assert len(found) == 47
    assert taken(found, 0) <= 50
