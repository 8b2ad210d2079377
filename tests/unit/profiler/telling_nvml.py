"""A stand-in for NVML that tells more of its GPUs, or keeps silent on what it is told to."""

import pynvml

from tests.unit.device.fake_nvml import FakeNvml

UNSUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED


class TellingNvml(FakeNvml):
    """A fake that tells of clocks and power, too."""

    def __init__(self, *gpus, mute=(), mig=0, reasons=0):
        super().__init__(*gpus)
        self.mute, self.mig, self.reasons = set(mute), mig, reasons

    def _tell(self, name, handle, value):
        self._gpu(handle)
        if name in self.mute:
            raise pynvml.NVMLError(UNSUPPORTED)
        return value

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        return "580.1"

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):  # noqa: N802
        return self._tell("power", handle, 450_000)

    def nvmlDeviceGetMaxClockInfo(self, handle, type):  # noqa: A002, N802
        assert type == pynvml.NVML_CLOCK_SM
        return self._tell("clock", handle, 2520)

    def nvmlDeviceGetCudaComputeCapability(self, handle):  # noqa: N802
        return self._tell("capability", handle, [8, 9])

    def nvmlDeviceGetEccMode(self, handle):  # noqa: N802
        return self._tell("ecc", handle, [1, 1])

    def nvmlDeviceGetMigMode(self, device):  # noqa: N802
        return self._tell("mig", device, [self.mig, self.mig])

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):  # noqa: N802
        return self._tell("reasons", handle, self.reasons)

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return self._tell("temperature", handle, 84)
