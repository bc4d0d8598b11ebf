"""The command line. No rules live here."""
