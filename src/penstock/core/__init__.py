"""Plain values and pure functions that every other package may use; nothing here does input or output."""
