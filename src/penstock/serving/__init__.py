"""The node: the request path and everything that keeps it answering."""
