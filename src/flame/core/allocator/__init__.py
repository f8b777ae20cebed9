"""The allocator: nodes, demands, placements and claims. Pure: computation only, no I/O, no clock, no randomness."""
