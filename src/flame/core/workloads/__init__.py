"""Workloads: what should run, what does, and what follows from the difference. Pure: computation only."""
