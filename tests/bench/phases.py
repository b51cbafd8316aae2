"""Shows how long each part of a create takes: of several runs, the medians.

phases.py RUNS FRESH COMMAND...: FRESH is a command that runs before each, and COMMAND tells the run in
JSON. What a layer takes to be stored lies between the end of what made it and the next event.
"""

import json
import statistics
import subprocess
import sys
import time


def run(command):
    """Returns the milliseconds of each part, in their order, by what it is."""
    parts = {}
    last = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        for line in child.stdout:
            now = time.monotonic()
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("event") not in ("begun", "ended"):
                continue
            if last is not None:
                name, begun = last
                between = begun["event"] == "ended" and event["event"] == "begun"
                what = f"{name}: stored, and the like" if between else f"{name}: {begun.get('text', '')}"
                if begun["event"] == "begun" or between:
                    parts[what] = parts.get(what, 0) + (now - since) * 1000
            last = (event["layer"], event)
            since = now
    if child.returncode != 0:
        sys.exit(f"{command} has failed")
    return parts


def main():
    runs, fresh, command = int(sys.argv[1]), sys.argv[2].split(), sys.argv[3:]
    seen = []
    for _ in range(runs):
        subprocess.run(fresh, check=True)
        seen.append(run(command))
    for what in seen[0]:
        print(f"{what[:58]:58} {statistics.median(parts.get(what, 0) for parts in seen):10.1f} ms")


main()
