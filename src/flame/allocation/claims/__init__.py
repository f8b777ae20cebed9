"""Providers of capacity. Each one answers claims as `core.allocator.claims` says; one contract test runs over all of them."""
