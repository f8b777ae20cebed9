"""Why something waits: a number for programs, a word, and elsewhere a sentence for people."""

from __future__ import annotations

from enum import IntEnum


class Why(IntEnum):
    """Codes of reasons; the word is the name in CamelCase."""

    NO_NODES = 2001
    NO_SHIM = 2002
    NEVER_FITS = 2003
    NO_CAPACITY = 2004
    RECLAIMING = 2005
    MAX_INSTANCES = 2006
    APP_MAX_INSTANCES = 2007
    BIND_FAILURES = 2008
    WAITING_FOR_IDLE = 2009
    REFUSED = 2010
    MAX_CONCURRENT_WORKLOADS = 2011
    QUOTA_EXCEEDED = 2012
    SELECTOR = 2013
    AFFINITY = 2014
    TAINT = 2015
    GPU = 2016
    GANG = 2017
    HELD = 2018

    @property
    def word(self) -> str:
        return self.name.title().replace("_", "")
