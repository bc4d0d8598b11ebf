"""Verdicts on a new version: what is measured, what was seen, what follows. Nothing here acts."""
