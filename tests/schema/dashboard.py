"""Reads the dashboard by the types of Grafana's schema, and writes it again: what the schema does not have would be lost on the way."""

import json
import sys
from collections.abc import Iterator

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(before: object, after: object, place: str) -> Iterator[str]:
    """The places of what is in `before` and not, or otherwise, in `after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name in after:
                yield from lost(value, after[name], f"{place}.{name}")
            else:
                yield f"{place}.{name}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}[{at}]")
    elif before != after:
        yield place


def main() -> None:
    register_default_plugins()
    with open(sys.argv[1], encoding="utf-8") as file:
        written = json.load(file)
    read = json.loads(json.dumps(Dashboard.from_json(written), cls=JSONEncoder))
    if unknown := list(lost(written, read, "dashboard")):
        sys.exit("schema: Grafana's schema does not have:\n  " + "\n  ".join(unknown))
    print(f"schema: the dashboard is of Grafana's schema ({len(written['panels'])} panels)")


main()
