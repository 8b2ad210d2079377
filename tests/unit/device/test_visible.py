import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.device.visible import visible

ALL = ("GPU-11112222-a", "GPU-11113333-b", "GPU-44445555-c")


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        (None, "012"),
        ("", ""),
        (" ", ""),
        ("-1", ""),
        ("none", ""),
        ("NoDevFiles", ""),
        ("0", "0"),
        ("2,0", "20"),
        (" 2 , 0 ", "20"),
        ("+1", "1"),
        ("0,2,-1,1", "02"),
        ("0,7,1", "0"),
        ("0,,1", "0"),
        ("0,1,", "01"),
        ("1gpu2,2ampere", "12"),
        ("0,1,0", ""),
        ("0,9,0", ""),
        ("0,-1,0", "0"),
        ("1,01", ""),
        ("0,GPU-4", "0"),
        ("GPU-44445555-c", "2"),
        ("GPU-4", "2"),
        ("GPU-4,GPU-11112", "20"),
        ("GPU-4, GPU-11112", "2"),
        ("GPU-1", ""),
        ("GPU-4,GPU-1111", "2"),
        ("GPU-4,GPU-44445555", ""),
        ("GPU-4,0", "2"),
        ("GPU-4,MIG-1", "2"),
        ("GPU-9", ""),
        ("GPU-", ""),
    ],
)
def test_chosen(value, chosen):
    assert visible(value, ALL) == tuple(ALL[int(index)] for index in chosen)


def test_the_first_part_of_a_gpu():
    assert visible("MIG-1", ALL) == visible("MIG-1,MIG-2", ALL) == ("MIG-1",)


@given(st.none() | st.text() | st.lists(st.sampled_from(["0", "1", "2", "3", "GPU-1", "GPU-4", "GPU-11112", ""])))
def test_no_gpu_is_shown_twice(value):
    if isinstance(value, list):
        value = ",".join(value)
    shown = visible(value, ALL)
    assert len(set(shown)) == len(shown)
    assert all(uuid in ALL or uuid.startswith("MIG-") for uuid in shown)
