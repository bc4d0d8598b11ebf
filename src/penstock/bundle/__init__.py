"""The frozen model on disk: manifest, archive, verification. Runs nothing."""
