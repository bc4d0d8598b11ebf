"""One file per framework, each with `load(path, artifact, signature) -> Model`. Imported on demand only."""
