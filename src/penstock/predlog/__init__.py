"""The prediction log: segments, reading, outcomes, retention."""
