"""From a trained model to a sealed bundle: convert, prove equal, measure."""

from penstock.pack.packing import Packed, pack, pack_file

__all__ = ["Packed", "pack", "pack_file"]
