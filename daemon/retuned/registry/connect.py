"""Connecting to Redis, and its errors in our own words."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis import exceptions as failed
from redis.backoff import NoBackoff
from redis.retry import Retry

from retuned.errors import ConfigError, PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retuned.settings import ServerSettings

OLDEST = (6, 2)
"""The oldest release that the scripts run on."""

REGISTRY = "RETUNED_REDIS__"

CONNECT_S = 3.0
ANSWER_S = 4.0
"""Whoever waits for an answer keeps the daemon from stopping, which has ten seconds."""

# The client has types for some passing refusals, whose texts it shortens.
_PASSING = (failed.ClusterDownError, failed.MasterDownError, failed.TryAgainError)
_PASSING_TEXTS = ("BUSY ", "NOREPLICAS ")


def connect(source: ServerSettings | Path, *, answer_s: float = ANSWER_S) -> redis.Redis:
    """Make a client; nothing is connected before its first command.

    Commands are never repeated by the client: a repeated one could count twice. It returns
    bytes.

    Args:
        source: settings of a server, or the path of a unix socket.
        answer_s: seconds that an answer is waited for.

    Raises:
        ConfigError: the URL cannot be read, or the password's file.
    """
    options: dict[str, Any] = {
        "decode_responses": False,
        "socket_timeout": answer_s,
        "socket_connect_timeout": CONNECT_S,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "client_name": "retuned",
    }
    if isinstance(source, Path):
        return redis.Redis(unix_socket_path=str(source), **options)
    if source.username:
        options["username"] = source.username
    if source.password_file is not None:
        options["password"] = _password(source.password_file, source.prefix)
    if source.tls_ca_file is not None:
        options["ssl_ca_certs"] = str(source.tls_ca_file)
    try:
        return redis.Redis.from_url(source.url, **options)
    except (ValueError, TypeError) as error:
        message = f"{source.prefix}URL={_shown(source.url)} cannot be used: {error}"
        raise ConfigError(message) from error


def ping(client: redis.Redis, *, prefix: str = REGISTRY) -> str:
    """Ask for the server's version.

    Args:
        client: of the server.
        prefix: of the keys that tell where it is.

    Raises:
        ConfigError: it is older than 6.2.
        TransientError: it is away.
        PermanentError: it refuses us.
    """
    with translated(prefix=prefix):
        found: Any = client.info("server")
    version = str(found["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < OLDEST:
        message = f"Redis {version} is too old: retuned needs 6.2 or later"
        raise ConfigError(message)
    return version


@contextmanager
def translated(*, prefix: str = REGISTRY) -> Iterator[None]:
    """Turn errors of the client into ours.

    Args:
        prefix: of the keys that tell where the server is.

    Raises:
        TransientError: the server is away, busy, loading, or out of memory.
        PermanentError: it refuses us or the command.
    """
    try:
        yield
    except (failed.AuthenticationError, failed.NoPermissionError) as error:
        message = (
            f"Redis refuses this user: {error}. Check {prefix}USERNAME and "
            f"{prefix}PASSWORD_FILE, and the user's rights (ACL GETUSER)."
        )
        raise PermanentError(message) from error
    except (failed.BusyLoadingError, failed.ConnectionError, failed.TimeoutError) as error:
        message = f"Redis cannot be reached: {error}"
        raise TransientError(message) from error
    except failed.RedisError as error:
        raise _refusal(error, prefix) from error


def _refusal(error: failed.RedisError, prefix: str) -> TransientError | PermanentError:
    """What an error reply means; 6.2 reports those of scripts as text, without a type."""
    text = str(error)
    if isinstance(error, failed.OutOfMemoryError) or "-OOM " in text:
        message = f"Redis is out of memory: {text}. Raise its maxmemory."
    elif isinstance(error, failed.ReadOnlyError) or "-READONLY " in text:
        message = f"Redis is a replica: {text}. Let {prefix}URL name the primary."
    elif "MISCONF" in text:
        message = f"Redis cannot write to its disk: {text}"
    elif isinstance(error, _PASSING) or text.startswith(_PASSING_TEXTS):
        return TransientError(f"Redis is busy: {text}")
    else:
        return PermanentError(f"Redis answered with an error: {text}")
    return TransientError(message, retry_after=30.0)


def _password(path: Path, prefix: str) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        message = f"{prefix}PASSWORD_FILE={path} cannot be read: {error.strerror}"
        raise ConfigError(message) from error


def _shown(url: str) -> str:
    """The URL without its user and password, whether or not it can be parsed."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}{found}***@{rest.rpartition('@')[2]}" if "@" in rest else url
