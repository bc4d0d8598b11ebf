"""Checks before traffic; each ends in a verdict with evidence."""
