"""Time-based one-time codes (RFC 6238): which period a code belongs to, if to any."""

import hmac

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

PERIOD_SECONDS = 30
DIGITS = 6
# One period to either side: for clocks that are a little off, and for the time that typing takes.
PERIODS_ASIDE = (0, -1, 1)


def as_typed(code: str) -> str:
    """Return the code without the blanks and hyphens with which apps and people group digits."""
    return "".join(code.split()).replace("-", "")


def code_of(secret: bytes, period: int) -> str:
    """Return the code of a period, counted from the Unix epoch."""
    # Authenticator apps know SHA-1 alone, and make secrets of 20 bytes or of fewer.
    algorithm = SHA1()  # noqa: S303  # nosec B303 # RFC 6238; no collision helps against an HMAC
    made = HOTP(secret, DIGITS, algorithm, enforce_key_length=False).generate(period)
    return made.decode("ascii")


def period_at(unix_time: float) -> int:
    """Return the period that a moment lies in."""
    return int(unix_time // PERIOD_SECONDS)


def matching_period(secret: bytes, code: str, *, unix_time: float) -> int | None:
    """Return the period near that moment whose code this is, None when it is none's."""
    typed = as_typed(code)
    if len(typed) != DIGITS or not typed.isascii():
        return None
    now = period_at(unix_time)
    near = [now + aside for aside in PERIODS_ASIDE if now + aside >= 0]
    found = [period for period in near if hmac.compare_digest(code_of(secret, period), typed)]
    return found[0] if found else None
