"""The control plane's REST API: doors only, no rules."""
