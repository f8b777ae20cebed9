"""The whole cluster on simulated time, links and disk, all randomness from one seed.

Both reactors and the client, executor and agent peers run as they are; only sockets, disks, processes and clocks are simulated.
`python -m flame.sim --seeds 500` runs many seeds; the same seed gives the same history, so that a failure can be replayed.
"""
