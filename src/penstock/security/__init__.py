"""Identities, keys, tokens, permissions, redaction."""
