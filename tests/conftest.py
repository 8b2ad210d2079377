"""What all tests share: folders of their own, so that no test reads or writes those of the user who runs it."""

import os
from inspect import iscoroutinefunction
from tempfile import TemporaryDirectory

import pytest

from tests import hanging

collect_ignore = ["engines"]
"""What needs a family's own libraries is run under its own interpreter: `make test-engines`."""


def pytest_configure(config):
    own = TemporaryDirectory(prefix="ttsw-tests-")
    config.add_cleanup(own.cleanup)
    os.environ |= {"XDG_DATA_HOME": f"{own.name}/data", "XDG_STATE_HOME": f"{own.name}/state"}


def pytest_collection_modifyitems(items):
    for item in items:
        if iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=hanging.run))
