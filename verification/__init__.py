"""Measures what Penstock promises, and writes `docs/verification.md`: `python -m verification --help`."""
