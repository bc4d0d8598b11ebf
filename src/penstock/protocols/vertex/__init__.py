"""Vertex AI's contract of a prediction container."""
