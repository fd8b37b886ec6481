"""A process and its descendants, by /proc: what they used and hold."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(root):
    """The process and all that descend from it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = stat(entry)
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += children.get(process, [])
    return found


def stat(process):
    """What stands behind the name in /proc/PID/stat, which may hold anything; state is the first."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def cpu_seconds(root):
    """User and system time of the tree, ended children included."""
    ticks = 0
    for process in tree(root):
        fields = stat(process)
        if fields:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def resident_bytes(root):
    """Of one process what is resident; of several their shares of it, or what they share would count twice."""
    processes = tree(root)
    if len(processes) == 1:
        return int(Path(f"/proc/{root}/statm").read_text().split()[1]) * PAGE
    return sum(share_bytes(process) for process in processes)


def share_bytes(process):
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
