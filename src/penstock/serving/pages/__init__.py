"""Everything a node answers that is not a call to a model, one file per contract; `table.py` says what is where."""
