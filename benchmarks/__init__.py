"""Measurements of Flame beside its peers. `make bench` runs them; docs/performance.md shows the latest."""
