"""What all tests share: folders of their own, so that no test reads or writes those of the user who runs it."""

import os
import signal
from inspect import iscoroutinefunction
from tempfile import TemporaryDirectory

import hypothesis
import pytest

from tests import hanging

# a busy machine is no fault of a test's
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("quick", hypothesis.settings.get_profile("suite"), max_examples=10)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

collect_ignore = ["engines"]
"""What needs a family's own libraries is run under its own interpreter: `make test-engines`."""


def pytest_configure(config):
    for number in (signal.SIGINT, signal.SIGHUP):  # ignored where a shell has put the tests into the background
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    own = TemporaryDirectory(prefix="ttsw-tests-")
    config.add_cleanup(own.cleanup)
    os.environ |= {"XDG_DATA_HOME": f"{own.name}/data", "XDG_STATE_HOME": f"{own.name}/state"}


def pytest_collection_modifyitems(items):
    for item in items:
        if iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=hanging.run))
