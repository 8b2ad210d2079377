import pytest

from ttsw.errors import ResourceExhaustedError, UnavailableError
from ttsw.sessions.admission import admit


def test_sessions_start_up_to_the_limit():
    admit(active=1, limit=2, draining=False)
    with pytest.raises(ResourceExhaustedError, match=r"all 2 sessions .*max_concurrent_sessions"):
        admit(active=2, limit=2, draining=False)


def test_none_starts_while_draining():
    with pytest.raises(UnavailableError, match=r"draining.*another worker"):
        admit(active=0, limit=2, draining=True)
