"""The REST API of control, and the process around it. Doors only: the rules are below, in `control`."""
