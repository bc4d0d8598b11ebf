"""Azure ML's contract of a scoring container."""
