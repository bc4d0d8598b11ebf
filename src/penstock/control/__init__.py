"""One file per use case: what changes what nodes are told."""
