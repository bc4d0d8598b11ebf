"""Bytes to calls and answers to bytes, one folder per protocol; no sockets here."""
