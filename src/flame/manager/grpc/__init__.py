"""The published `flame.v1` interface, on the same state as the task plane. Servicers translate; reactors decide."""
