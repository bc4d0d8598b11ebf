"""Pure statistics: what may be said of two versions from what was seen of them, however often one looks."""
