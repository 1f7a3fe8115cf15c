"""Which faults of a store pass, and how often and how long a request waits for that."""

import errno
import logging
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from avdata.storage.location import StorageError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_PERMANENT_TYPES = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
_PERMANENT_ERRNOS = {
    errno.EINVAL,
    errno.EPERM,
    errno.ENOSYS,
    errno.ENAMETOOLONG,
    errno.EMSGSIZE,
    getattr(errno, "EREMCHG", errno.EINVAL),  # a bucket of another region
}
_PASSING_CODES = {"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "InvalidPart"}
"""S3 calls these the client's fault; what arrived was damaged on its way."""
_PASSING_NAMES = {
    "HTTPClientError",
    "ConnectionError",
    "IncompleteReadError",
    "ResponseStreamingError",
    "ResponseParserError",
    "FlexibleChecksumError",
}
"""Errors of botocore that are not about settings or credentials."""


class ShortRead(OSError):
    """An answer that holds fewer bytes than were asked for, or than the file is known to have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How long to try: the wait before try k is random in [0, first_wait_s * 2^(k - 2)]."""

    attempts: int = 8
    first_wait_s: float = 0.2
    longest_wait_s: float = 10.0

    def run(self, request: Callable[[], Result], *, what: str) -> Result:
        """Result of `request`, which is called until it comes back, fails for good or too often.

        Raises:
            FileNotFoundError: There is no such file.
            StorageError: It was refused, or every attempt failed; the text says what to do.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return request()
            except _faults() as error:
                if isinstance(error, FileNotFoundError):
                    raise
                if is_permanent(error):
                    raise StorageError(f"{what}: {describe(error)}; {_hint(error)}") from error
                if attempt == self.attempts:
                    raise StorageError(
                        f"{what}: {self.attempts} attempts failed, the last one with "
                        f"{describe(error)}; see that the store can be reached, and run the same "
                        "command again: it goes on where this one stopped"
                    ) from error
                longest = min(self.first_wait_s * 2 ** (attempt - 1), self.longest_wait_s)
                wait_s = random.uniform(0, longest)  # when, never what: no result depends on it
                log = logger.warning if attempt > 2 else logger.info
                log(
                    "%s: attempt %d of %d failed (%s); again in %.1f s",
                    what,
                    attempt,
                    self.attempts,
                    describe(error),
                    wait_s,
                )
                time.sleep(wait_s)
        raise ValueError(f"attempts={self.attempts} must be at least 1")


def is_permanent(error: BaseException) -> bool:
    """Whether another try cannot help: missing, forbidden, not understood."""
    if isinstance(error, ShortRead):
        return False
    if isinstance(error, _PERMANENT_TYPES):
        return True
    if isinstance(error, OSError):
        response = getattr(error.__cause__, "response", None) or {}
        code = response.get("Error", {}).get("Code")
        return error.errno in _PERMANENT_ERRNOS and code not in _PASSING_CODES
    if type(error).__module__.startswith("botocore"):
        return not any(base.__name__ in _PASSING_NAMES for base in type(error).__mro__)
    return False


def describe(error: BaseException) -> str:
    """One line for messages."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _hint(error: BaseException) -> str:
    if isinstance(error, PermissionError) or "redentials" in type(error).__name__:
        return (
            "give credentials that may do this (for S3: AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, and a policy that allows s3:GetObject, s3:PutObject and "
            "s3:ListBucket)"
        )
    return "correct the URL, or the store's settings"


def _faults() -> tuple[type[BaseException], ...]:
    """Error types of the drivers that are loaded; fsspec itself raises OSErrors."""
    types: list[type[BaseException]] = [OSError, EOFError]
    if botocore := sys.modules.get("botocore.exceptions"):
        types += [botocore.BotoCoreError, botocore.ClientError]
    if aiohttp := sys.modules.get("aiohttp"):
        types.append(aiohttp.ClientError)
    return tuple(types)
