"""Times as objects carry them: RFC 3339 in UTC, whole seconds."""

from __future__ import annotations

import re

from flame.core.base.errors import InvalidArgument

_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))")


def stamp(at: float) -> str:
    """`2026-01-31T12:00:00Z` of seconds since the epoch."""
    days, seconds = divmod(int(at), 86400)
    year, month, day = _civil(days)
    return f"{year:04}-{month:02}-{day:02}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


def seconds(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time. Raises InvalidArgument."""
    found = _STAMP.fullmatch(text)
    if found is None:
        raise InvalidArgument(f"not a time: {text[:40]!r}", hint="write something like 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    offset = (int(found[9]) * 3600 + int(found[10]) * 60) * (-1 if found[8] == "-" else 1) if found[8] else 0
    return _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second + float(found[7] or 0) - offset


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar; years are counted from March, so that the leap day comes last."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _civil(days: int) -> tuple[int, int, int]:
    """The inverse of `_days`."""
    era, of_era = divmod(days + 719468, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    march = (5 * of_year + 2) // 153
    month = march + 3 if march < 10 else march - 9
    return year + era * 400 + (month <= 2), month, of_year - (153 * march + 2) // 5 + 1
