"""Who is paired with whom, for feedback on another item and for the leak meter.

Covered: properties of `partners` over groups of any sizes. Not covered: what is done with the pairs
(test_leakage.py), whether two texts differ.
"""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pairing import Group, partners

GROUPS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.builds(Group, task=st.sampled_from(["x", "y", "z"]), kind=st.booleans()),
    max_size=25,
)
SEEDS = st.integers(min_value=0, max_value=2**63 - 1)
many = settings(max_examples=300, deadline=None, derandomize=True)


@many
@given(groups=GROUPS, seed=SEEDS)
def test_a_partner_is_another_item_of_the_same_kind(groups: dict[str, Group], seed: int) -> None:
    kinds = Counter(group.kind for group in groups.values())
    pairs = partners(groups, seed)
    assert pairs.keys() == {item for item, group in groups.items() if kinds[group.kind] > 1}
    for item, other in pairs.items():
        assert other != item
        assert groups[other].kind == groups[item].kind


@many
@given(groups=GROUPS, seed=SEEDS)
def test_a_group_is_deranged(groups: dict[str, Group], seed: int) -> None:
    pairs = partners(groups, seed)
    for group, size in Counter(groups.values()).items():
        members = {item for item, own in groups.items() if own == group}
        if size > 1:
            assert {pairs[item] for item in members} == members


@many
@given(groups=GROUPS, seed=SEEDS)
def test_the_lone_are_pooled(groups: dict[str, Group], seed: int) -> None:
    pairs = partners(groups, seed)
    sizes = Counter(groups.values())
    for kind in (True, False):
        lone = {i for i, group in groups.items() if group.kind == kind and sizes[group] == 1}
        if len(lone) > 1:
            assert {pairs[item] for item in lone} == lone


@many
@given(groups=GROUPS, seed=SEEDS)
def test_the_seed_decides_and_no_order_does(groups: dict[str, Group], seed: int) -> None:
    backwards = dict(reversed(groups.items()))
    assert partners(groups, seed) == partners(backwards, seed)


def test_seeds_differ() -> None:
    groups = {str(n): Group("x", True) for n in range(8)}
    pairings = [tuple(sorted(partners(groups, seed).items())) for seed in range(20)]
    assert len(set(pairings)) > 15


def test_by_hand() -> None:
    assert partners({}, 0) == {}
    assert partners({"a": Group("x", True)}, 0) == {}
    assert partners({"a": Group("x", True), "b": Group("x", False)}, 0) == {}
    # Another task, since there is no other right answer in its own.
    assert partners({"a": Group("x", True), "b": Group("y", True)}, 0) == {"a": "b", "b": "a"}
    groups = {"a": Group("x", True), "b": Group("x", True), "c": Group("y", True)}
    pairs = partners(groups, 0)
    assert (pairs["a"], pairs["b"]) == ("b", "a")
    assert pairs["c"] in ("a", "b")
