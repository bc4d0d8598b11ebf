"""Processes of our own: their memory, their processor time, and their end."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """A process and everything that descends from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _fields(int(entry.name), 1)):
            children.setdefault(int(parent[0]), []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def memory_mib(processes: list[int]) -> tuple[float, float]:
    """(PSS, USS) together: shared pages divided among those who share them, and pages of their own only."""
    pss = uss = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it ended while we looked
        sizes = {words[0]: int(words[1]) for line in lines if (words := line.split())[0].endswith(":")}
        pss += sizes["Pss:"]
        uss += sizes["Private_Clean:"] + sizes["Private_Dirty:"]
    return pss / 1024, uss / 1024


def processor_s(processes: list[int]) -> float:
    """Seconds of processor time that they have used."""
    return sum(sum(map(int, _fields(process, 11, 12))) for process in processes) / TICKS_PER_S


def _fields(process: int, *positions: int) -> list[str]:
    """Fields of /proc/PID/stat, counted from the state; empty if the process is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [fields[position] for position in positions]
