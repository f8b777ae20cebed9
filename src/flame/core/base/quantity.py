"""Amounts as text: `2Gi`, `500m`, `1h30m`, and the resource text `cpu=1,mem=1g,gpu=0`.

Inside the engine CPU and GPU are integers in thousandths, memory is bytes, durations are seconds as floats. Size suffixes are binary
whatever their spelling (`1k` = `1KB` = `1KiB` = 1024).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from flame.core.base.errors import InvalidArgument

MILLI = 1000
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgtp])i?b?|b)?", re.IGNORECASE)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|μs|ns|d|h|m|s)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = "KMGTPE"
_KEYS = {"cpu": "cpu", "mem": "memory", "memory": "memory", "gpu": "gpu"}
_LARGEST = 2**63 - 1


def parse_size(text: str | int) -> int:
    """Bytes of a size: a count, or a count with k, m, g, t or p, each also as `kb`, `ki`, `kib`, in any case.

    Raises InvalidArgument for anything else and for more than 2**63 - 1 bytes.
    """
    found = _SIZE.fullmatch(str(text).strip())
    if found is None:
        raise InvalidArgument(f"not a size: {text!r}", hint="write a byte count or something like 512m, 2Gi, 1.5gb")
    power = _POWERS[(found[2] or "").lower()]
    return _bounded(int(Decimal(found[1]) * 1024**power), text)


def format_size(size: int) -> str:
    """The size in the largest of Gi, Mi, Ki and B that it fills, rounded down: `1Gi`, `512Mi`, `17B`."""
    for unit, factor in (("Gi", 1024**3), ("Mi", 1024**2), ("Ki", 1024)):
        if size >= factor:
            return f"{size // factor}{unit}"
    return f"{size}B"


def parse_quantity(text: str | int | float) -> Decimal:
    """The exact amount of a Kubernetes quantity: `2`, `0.5`, `500m`, `16Gi`, `1e3`, `10M`; suffixes count as Kubernetes counts them, so
    `1k` is 1000 and `1Ki` is 1024. Raises InvalidArgument for anything else, and beyond 2**63 - 1."""
    word = str(text).strip()
    found = _QUANTITY.fullmatch(word)
    if found is None:
        raise InvalidArgument(f"not a quantity: {word[:40]!r}", hint="write something like 2, 0.5, 500m, 16Gi or 1e3")
    number, binary, suffix, exponent = found.groups()
    if len(number) > 40 or (exponent and abs(int(exponent)) > 40):
        raise InvalidArgument(f"too large or too fine: {word[:40]!r}", hint=f"the largest amount is {_LARGEST}")
    amount = Decimal(number)
    if binary:
        amount *= 1024 ** (_BINARY.index(binary[0]) + 1)
    elif suffix or exponent:
        amount = amount.scaleb(_DECIMAL[suffix] if suffix else int(exponent))
    if abs(amount) > _LARGEST:
        raise InvalidArgument(f"too large: {word!r}", hint=f"the largest amount is {_LARGEST}")
    return amount


def quantity_units(text: str | int | float) -> int:
    """A quantity in whole units, rounded up: bytes of memory, counts. Raises InvalidArgument."""
    return int(parse_quantity(text).to_integral_value(ROUND_CEILING))


def quantity_milli(text: str | int | float) -> int:
    """A quantity in thousandths, rounded up: CPUs, GPUs. Raises InvalidArgument."""
    return int((parse_quantity(text) * MILLI).to_integral_value(ROUND_CEILING))


def parse_milli(text: str | int | float) -> int:
    """Thousandths of an amount of CPUs or GPUs: `2` is 2000, `0.5` and `500m` are 500.

    Raises InvalidArgument when it is not a number, is negative, or is finer than a thousandth.
    """
    word = str(text).strip().lower()
    try:
        milli = Decimal(word[:-1]) if word.endswith("m") else Decimal(word) * MILLI
    except InvalidOperation:
        raise InvalidArgument(f"not an amount: {text!r}", hint="write something like 1, 0.5 or 500m") from None
    if not milli.is_finite() or milli < 0 or milli != milli.to_integral_value():
        raise InvalidArgument(f"not an amount: {text!r}", hint="amounts are positive and no finer than 0.001 (1m)")
    return _bounded(int(milli), text)


def format_milli(milli: int) -> str:
    """`2000` as `2`, `500` as `500m`."""
    return f"{milli}m" if milli % MILLI else str(milli // MILLI)


def parse_resources(text: str) -> dict[str, int]:
    """`cpu=1,mem=1g,gpu=0` as `{"cpu": 1000, "memory": 1073741824, "gpu": 0}`; what is not named is 0.

    Raises InvalidArgument for unknown keys, keys given twice, and empty entries.
    """
    found = {"cpu": 0, "memory": 0, "gpu": 0}
    seen: list[str] = []
    for entry in text.split(","):
        word, equals, value = (part.strip() for part in entry.partition("="))
        if not (word and equals and value):
            what = "an empty entry" if not entry.strip() else f"{entry.strip()!r}"
            raise InvalidArgument(f"resources {text!r}: found {what}", hint="write key=value, as in cpu=1,mem=1g,gpu=0")
        key = _KEYS.get(word.lower())
        if key is None:
            raise InvalidArgument(
                f"resources {text!r}: unknown key {word!r}", hint="known keys: cpu, mem (or memory), gpu"
            )
        if key in seen:
            raise InvalidArgument(f"resources {text!r}: {word!r} is given twice", hint="name every resource once")
        seen.append(key)
        found[key] = parse_size(value) if key == "memory" else parse_milli(value)
    return found


def format_resources(resources: Mapping[str, int]) -> str:
    """The text that `parse_resources` reads back, exactly: `cpu=1,mem=1g,gpu=0`."""
    return (
        f"cpu={format_milli(resources.get('cpu', 0))},mem={_exact_size(resources.get('memory', 0))}"
        f",gpu={format_milli(resources.get('gpu', 0))}"
    )


def describe(resources: Mapping[str, int]) -> str:
    """What people read in reasons: `cpu 2, memory 1Gi`; resources of amount 0 are left out."""
    words = [f"{name} {format_amount(name, amount)}" for name, amount in resources.items() if amount]
    return ", ".join(words) or "nothing"


def format_amount(name: str, amount: int) -> str:
    """One amount in the unit of its resource; names we do not know are plain counts."""
    if name in ("memory", "storage"):
        return format_size(amount)
    return format_milli(amount) if name in ("cpu", "gpu") else str(amount)


def parse_duration(text: str | int | float) -> float:
    """Seconds of `1h30m`, `10s`, `250ms`; a plain number is seconds. Raises InvalidArgument for anything else."""
    word = str(text).strip().lower()
    try:
        plain = Decimal(word)
    except InvalidOperation:
        parts = _DURATION_PART.findall(word)
        if not parts or "".join(amount + unit for amount, unit in parts) != word:
            raise InvalidArgument(
                f"not a duration: {text!r}", hint="write something like 10s, 1h30m or 250ms"
            ) from None
        return float(sum(float(amount) * _SECONDS[unit] for amount, unit in parts))
    if not plain.is_finite() or plain < 0:
        raise InvalidArgument(f"not a duration: {text!r}", hint="durations are positive") from None
    return float(plain)


def format_duration(seconds: float) -> str:
    """`5400` as `1h30m`, `0.25` as `250ms`, `10.5` as `10s500ms`; finer than a millisecond is rounded."""
    millis = round(seconds * 1000)
    words = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        amount, millis = divmod(millis, size)
        if amount:
            words.append(f"{amount}{unit}")
    return "".join(words) or "0s"


def _exact_size(size: int) -> str:
    for suffix, factor in (("g", 1024**3), ("m", 1024**2), ("k", 1024)):
        if size and size % factor == 0:
            return f"{size // factor}{suffix}"
    return str(size)


def _bounded(amount: int, text: object) -> int:
    if amount > _LARGEST:
        raise InvalidArgument(f"too large: {text!r}", hint=f"the largest amount is {_LARGEST}")
    return amount
