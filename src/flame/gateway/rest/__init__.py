"""Flame's own API: sessions, tasks, why things wait, what they print. Described at /openapi.json."""
