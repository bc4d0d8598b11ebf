"""The client for Python programs. Needs numpy, msgspec and httpx; no model library, and nothing of the node."""

from penstock.sdk.async_client import AsyncClient
from penstock.sdk.client import Client
from penstock.sdk.prediction import Prediction

__all__ = ["AsyncClient", "Client", "Prediction"]
