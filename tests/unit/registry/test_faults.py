"""Displayed URLs contain no password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.registry.faults import redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@localhost", "redis://localhost"),
        ("rediss://tts:sec@r:et/?#@h:1/2?ssl_ca_certs=x", "rediss://h:1/2"),
        ("unix://tts:secret@/run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("redis+sentinel://tts:secret@a:1,b:2/main/0", "redis+sentinel://a:1,b:2/main/0"),
    ],
)
def test_a_url_is_shown_without_login_and_options(url, shown):
    assert redact(url) == shown


@given(st.text(max_size=20))
def test_any_password_is_removed(password):
    assert redact(f"redis://tts:{password}@HOST/1") == "redis://HOST/1"
