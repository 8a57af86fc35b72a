#!/usr/bin/env python3
"""What agents take in memory: so many `synapsenet mcp` at once on one node, each of which has listed the tools and searched.

    python3 benches/compare/agents.py --agents 20      # needs no package but numpy

PSS (/proc/PID/smaps_rollup) counts what a process has for itself, and of what several share its part: the sum is what all of them take.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from quality import ROOT, RunningNode

TEXT = "The router stands in the cellar."


class Agent:
    """A session over standard input and output."""

    def __init__(self, binary, folder, environment):
        command = [binary, "mcp", "--write", "--data-dir", folder]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.asked = 0
        client = {"name": "benches", "version": "1"}
        self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
        self.say({"method": "notifications/initialized"})

    def say(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")

    def ask(self, method, parameters):
        self.asked += 1
        self.say({"id": self.asked, "method": method, "params": parameters})
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.asked:
                return answer["result"]
        raise SystemExit(f"agents: the session ended at {method}")


def proportional_kb(process):
    """{"Pss": kB, "Pss_Anon": kB, "Pss_File": kB} of a process."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if name in ("Pss", "Pss_Anon", "Pss_File")}


def main():
    parser = argparse.ArgumentParser(description="Measures what agents take in memory.")
    parser.add_argument("--agents", type=int, default=20, help="how many at once (default: %(default)s)")
    parser.add_argument("--synapsenet", type=Path, default=ROOT / "target" / "release" / "synapsenet")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="syn-") as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir(mode=0o700)
        with RunningNode(arguments.synapsenet, folder) as node:
            node.call("add", TEXT)
            agents = [Agent(arguments.synapsenet, folder, node.environment) for _ in range(arguments.agents)]
            for agent in agents:
                agent.ask("tools/list", {})
                if TEXT not in json.dumps(agent.ask("tools/call", {"name": "search", "arguments": {"query": "where is the router"}})):
                    raise SystemExit("agents: the note was not found")
            each = [proportional_kb(agent.process.pid) for agent in agents]
            held = proportional_kb(node.process.pid)["Pss"]
            for agent in agents:
                agent.process.stdin.close()
                agent.process.wait(timeout=60)
    total, own, files = (sum(one[name] for one in each) for name in ("Pss", "Pss_Anon", "Pss_File"))
    print(f"{len(each)} agents: {total / 1000:.1f} MB in all, {total / 1000 / len(each):.2f} MB each ({own / 1000:.1f} MB their own, {files / 1000:.1f} MB of files)")
    print(f"the node beside them: {held / 1000:.1f} MB")


if __name__ == "__main__":
    main()
