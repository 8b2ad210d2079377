"""Creating clients from URLs, and converting redis-py's errors; without a connection."""

import pytest
from redis import exceptions
from redis.connection import SSLConnection, UnixDomainSocketConnection

from ttsw.errors import ConfigError
from ttsw.registry.client import make_client, to_registry_error
from ttsw.registry.heartbeat import Condition


def options(url):
    pool = make_client(url, 0.5).connection_pool
    return pool.connection_class, pool.connection_kwargs


def test_a_url_contains_address_and_login():
    _, given = options("redis://tts:p%40ss@redis.example:6380/2")
    wanted = {"host": "redis.example", "port": 6380, "db": 2, "username": "tts", "password": "p@ss"}
    assert wanted.items() <= given.items()


def test_schemes():
    assert options("rediss://h?ssl_ca_certs=ca.pem")[0] is SSLConnection
    kind, given = options("unix:///run/redis.sock?db=1")
    assert kind is UnixDomainSocketConnection
    assert (given["path"], given["db"]) == ("/run/redis.sock", 1)


def test_no_option_of_the_url_lets_a_call_wait():
    _, given = options("redis://h?socket_timeout=60&retry_on_timeout=yes&health_check_interval=1&decode_responses=1")
    assert (given["socket_timeout"], given["socket_connect_timeout"]) == (0.5, 0.5)
    assert given["retry"].get_retries() == 0
    assert not given["decode_responses"]


def test_sentinels():
    pool = make_client("redis+sentinel://tts:p%40ss@a:1,[::1]:2,c/main/3", 0.5).connection_pool
    sentinels = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in sentinels] == [("a", 1), ("::1", 2), ("c", 26_379)]
    assert {each["socket_timeout"] for each in sentinels} == {0.5}
    assert all(each["password"] is None for each in sentinels)
    assert (pool.service_name, pool.connection_kwargs["db"], pool.connection_kwargs["password"]) == ("main", 3, "p@ss")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis://:secret@h:port", "is invalid"),
        ("redis://:secret@h?db=x", "is invalid"),
        ("redis://:secret@h?no_such=1", "no_such"),
        ("redis://:sec/ret@h", "is invalid"),
        ("redis+sentinel://:secret@h:1", "SERVICE"),
        ("redis+sentinel://:secret@h:x/main", "is invalid"),
        ("http://:secret@h", "is invalid"),
    ],
)
def test_errors_about_a_url_do_not_contain_the_password(url, fault):
    with pytest.raises(ConfigError) as caught:
        make_client(url, 0.5)
    assert fault in str(caught.value)
    for part in ("secret", "sec", "ret@"):
        assert part not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def broken_watch(cause):
    try:
        try:
            raise cause
        except type(cause):
            raise exceptions.WatchError("while watching")  # noqa: B904 - as redis-py does
    except exceptions.WatchError as error:
        return error


@pytest.mark.parametrize(
    ("error", "condition"),
    [
        (exceptions.ConnectionError("Error 111 connecting to h:1"), Condition.UNREACHABLE),
        (exceptions.TimeoutError("Timeout reading from h:1"), Condition.SLOW),
        (exceptions.AuthenticationError("Authentication required."), Condition.LOGIN),
        (exceptions.NoPermissionError("this user has no permissions"), Condition.FORBIDDEN),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), Condition.READ_ONLY),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), Condition.READ_ONLY),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), Condition.READ_ONLY),
        (exceptions.ResponseError("BUSY Redis is busy running a script"), Condition.BUSY),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), Condition.BUSY),
        (exceptions.OutOfMemoryError("command not allowed"), Condition.FULL),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), Condition.REFUSED),
        (exceptions.MovedError("1 h:1"), Condition.REFUSED),
        (exceptions.WatchError("changed"), Condition.REFUSED),
        (broken_watch(exceptions.ConnectionError("gone")), Condition.UNREACHABLE),
        (broken_watch(exceptions.TimeoutError("slow")), Condition.SLOW),
        (OSError("no such socket"), Condition.UNREACHABLE),
    ],
)
def test_the_condition_of_an_error(error, condition):
    converted = to_registry_error(error, "redis://h")
    assert converted.condition is condition
    assert str(converted).startswith(f"the registry redis://h is {condition}: ")


def test_the_error_message_excludes_the_written_value():
    error = exceptions.ReadOnlyError("Command # 1 (SET worker:a {…}) of pipeline caused error: You can't write")
    assert str(to_registry_error(error, "r")) == "the registry r is read-only: You can't write"
