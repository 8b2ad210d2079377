"""What tests of engines and of clients need, as part of the package: a conformance suite, and a worker in a block."""

from ttsw.testing.conformance import check_adapter
from ttsw.testing.devices import FakeDevice
from ttsw.testing.fakes import FakeAdapter, FakeHost
from ttsw.testing.workers import open_worker

__all__ = ["FakeAdapter", "FakeDevice", "FakeHost", "check_adapter", "open_worker"]
