"""Which profile `auto` takes."""

from datetime import UTC, datetime

import pytest

from tests.unit.profiles.samples import MEASURED
from ttsw.profiles.estimated import estimated_profiles
from ttsw.profiles.schema import DeviceFacts
from ttsw.profiles.selection import choose, normal, product


def gpu(name, device, *, provenance="estimated", memory_mb=24_000, day=1):
    facts = DeviceFacts(kind="gpu", name=device, memory_mb=memory_mb)
    date = datetime(2026, 1, day, tzinfo=UTC)
    return MEASURED.model_copy(update={"name": name, "device": facts, "provenance": provenance, "date": date})


def chosen(profiles, name, **more):
    found = choose(profiles, name, **more)
    return found and found.name


def test_the_exact_name_comes_before_what_was_measured():
    profiles = [gpu("near", "RTX 4090", provenance="measured"), gpu("exact", "NVIDIA GeForce RTX 4090")]
    assert chosen(profiles, "NVIDIA GeForce RTX 4090") == "exact"
    assert chosen(profiles, "rtx4090") == "near"


def test_measured_comes_before_estimated_and_younger_before_older():
    profiles = [
        gpu("old", "NVIDIA L4", provenance="measured", day=1),
        gpu("young", "NVIDIA L4", provenance="measured", day=2),
        gpu("guess", "NVIDIA L4", day=3),
    ]
    assert chosen(profiles, "NVIDIA L4") == "young"
    assert chosen(profiles[2:], "NVIDIA L4") == "guess"


def test_an_interrupted_measurement_is_never_chosen():
    partial = gpu("part", "NVIDIA L4", provenance="partial", day=9)
    assert chosen([partial], "NVIDIA L4") is None
    assert chosen([partial, gpu("guess", "NVIDIA L4")], "NVIDIA L4") == "guess"


def test_another_product_never_fits():
    profiles = estimated_profiles()
    for name in (
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA L40",
        "NVIDIA GH200",
        "AMD",
        "",
    ):
        assert choose(profiles, name) is None
    assert choose([], "NVIDIA L4") is None
    assert choose(profiles, "NVIDIA L4", cores=4) is None


@pytest.mark.parametrize(
    ("name", "memory_mb", "wanted"),
    [
        ("NVIDIA A100-SXM4-80GB", 85_899, "a100-80g"),
        ("NVIDIA A100-SXM4-40GB", 42_949, None),
        ("NVIDIA H100 80GB HBM3", 85_521, "h100"),
        ("NVIDIA H200", 150_754, "h200"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10_000, None),
        ("NVIDIA GeForce RTX 3090", 25_769, "rtx3090"),
        ("NVIDIA A10G", 24_146, "a10g"),
        ("NVIDIA L4", 24_152, "l4"),
        ("NVIDIA L40S", 48_305, "l40s"),
    ],
)
def test_the_names_that_drivers_say_find_the_shipped_profiles(name, memory_mb, wanted):
    assert chosen(estimated_profiles(), name, memory_mb=memory_mb) == wanted


def test_a_processor_must_be_the_same_with_as_many_cores():
    assert chosen([MEASURED], "A Processor", cores=2) == "sample"
    assert chosen([MEASURED], "A(R)  processor", cores=2) == "sample"
    assert chosen([MEASURED], "A Processor", cores=4) is None
    assert chosen([MEASURED], "Another", cores=2) is None
    assert chosen([MEASURED], "A Processor") is None


def test_names_come_down_to_what_tells_products_apart():
    assert product("NVIDIA GeForce RTX 4090") == product("rtx4090")
    assert product("NVIDIA A100 80GB PCIe") == product("A100-SXM4-80GB")
    assert product("RTX 4090") != product("RTX 4080")
    assert product("NVIDIA A100 MIG 1g.10gb") != product("NVIDIA A100")
    assert normal("AMD EPYC 7B13") != normal("AMD EPYC 7B12")
