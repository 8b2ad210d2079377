"""What a profile says and a machine isn't."""

from tests.unit.profiles.samples import MEASURED
from ttsw.profiles.mismatch import mismatches
from ttsw.profiles.schema import DeviceFacts

HERE = {"device_name": "A Processor", "memory_mb": 8000, "cores": 2, "digests": {}}
GPU = MEASURED.model_copy(
    update={"device": DeviceFacts(kind="gpu", name="NVIDIA L4", memory_mb=24_000, driver="550.54")}
)


def found(profile, **more):
    return [(each.gravity, each.text) for each in mismatches(profile, **HERE | more)]


def test_the_same_machine_has_none():
    assert found(MEASURED) == []
    assert found(MEASURED, digests={"piper-anna": "ab" * 32, "hibari-heart": "cd" * 32}) == []
    assert found(MEASURED, digests={"piper-anna": None}) == []
    assert found(GPU, device_name="NVIDIA L4", cores=None, memory_mb=24_152, driver="550.54") == []
    assert found(GPU, device_name="NVIDIA L4", cores=None, memory_mb=24_152) == []


def test_another_device_is_grave():
    assert found(GPU, device_name="NVIDIA L40S", cores=None, memory_mb=48_000) == [
        ("grave", "the profile sample is of NVIDIA L4, and this is NVIDIA L40S")
    ]
    assert found(GPU)[0][0] == "grave"
    assert found(MEASURED, cores=None)[0][0] == "grave"


def test_less_memory_is_grave_and_more_is_none():
    assert found(MEASURED, memory_mb=4000) == [
        ("grave", "the profile's device has 8000 MB of memory, and this one 4000 MB")
    ]
    assert found(MEASURED, memory_mb=7900) == []
    assert found(MEASURED, memory_mb=16_000) == []


def test_other_cores_are_told():
    assert found(MEASURED, cores=1) == [("grave", "the profile is of 2 cores, and there are 1")]
    assert found(MEASURED, cores=4) == [("warning", "the profile is of 2 cores, and there are 4")]


def test_another_driver_and_other_files_are_warnings_and_unknown_models_are_told():
    said = found(
        GPU,
        device_name="NVIDIA L4",
        cores=None,
        memory_mb=24_000,
        driver="570.1",
        digests={"other-model": None, "piper-anna": "cd" * 32},
    )
    assert [gravity for gravity, _ in said] == ["warning", "warning", "note"]
    assert "the driver 550.54, and this is 570.1" in said[0][1]
    assert said[1][1] == (
        "the files of the model piper-anna aren't those that were measured (cdcdcdcdcdcd…, not abababababab…)"
    )
    assert said[2][1] == "the profile says nothing of the model other-model"


def test_the_gravest_comes_first():
    said = found(MEASURED, digests={"a-b": None, "piper-anna": "cd" * 32}, memory_mb=10)
    assert [gravity for gravity, _ in said] == ["grave", "warning", "note"]
