"""Folders of numbered versions, served as they are: `penstock serve --model-base-path` and `--model-config-file`.

A process beside the node looks into the folders, makes bundles of what they hold, and writes the route document.
"""
