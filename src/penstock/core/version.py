"""The version, apart from `penstock` itself: that names everything, so nothing inside may import it."""

__version__ = "0.1.0"
