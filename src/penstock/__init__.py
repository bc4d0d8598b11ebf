"""Penstock takes a trained model from a file to a fast, watched, reversible deployment."""

__version__ = "0.1.0"
