"""Versions, aliases, lineage and the audit log."""
