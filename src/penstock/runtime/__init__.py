"""The one place that knows how to run a bundle: load, frameworks, worker processes, batching."""
