"""How names, labels and keys are spelt: RFC 1123 and what Kubernetes makes of it."""

from __future__ import annotations

import re

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
NAME_RULE = "lower case letters, digits, '-' and '.', beginning and ending with a letter or digit"
LABEL_RULE = "at most 63 lower case letters, digits and '-', beginning and ending with a letter or digit"
PORT_NAME = r"[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?"
PORT_NAME_RULE = "at most 15 lower case letters, digits and '-', with a letter in it"
ENV_NAME = r"[-._a-zA-Z][-._a-zA-Z0-9]*"
_PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def wrong_key(key: str) -> str:
    """What is wrong with the key of a label or annotation, `app` or `flame.xflops.cn/priority`; empty: nothing."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return f"the prefix {prefix[:80]!r} of the key is no DNS name"
    if not _PART.fullmatch(name):
        return "a key has at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
    return ""


def wrong_label_value(value: str) -> str:
    """What is wrong with the value of a label; empty: nothing. The empty value is legal."""
    if value and not _PART.fullmatch(value):
        return (
            f"{value[:80]!r} is no label value: at most 63 letters, digits, '-', '_' and '.', beginning and ending with"
            " a letter or digit"
        )
    return ""


def wrong_config_key(key: str) -> str:
    if not _CONFIG_KEY.fullmatch(key):
        return "a key has 1 to 253 letters, digits, '-', '_' and '.'"
    return ""


def wrong_name(name: str) -> str:
    """What is wrong with the name of an object; empty: nothing."""
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        return f"{name[:80]!r} is no name: {NAME_RULE}, at most 253 of them"
    return ""
