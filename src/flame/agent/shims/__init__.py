"""Shims: services of other kinds behind the same three methods. A shim runs in the executor process; the engine sees one more executor."""
