"""What `flame doctor` looks at: functions that yield Checks. They change nothing, but for the probe of the network."""
