#!/usr/bin/env python3
"""The official library for Python as an agent of a node: on standard input and output and over HTTP, in the newest version of the
protocol and in one that is opened by a handshake.

    check_agents.py PROGRAM FOLDER URL TOKEN

The library checks each answer against the schema that the tool gave. It ends with the number of checks, or with the first that fails.
"""

import asyncio
import json
import os
import sys

import mcp
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

checks = 0


def check(what, found, expected):
    global checks
    checks += 1
    if found != expected:
        sys.exit(f"check_agents.py: {what}\n  found    {found!r}\n  expected {expected!r}")


async def use(way, client, text):
    check(f"{way}: version", client.protocol_version, "2025-11-25" if way.endswith("legacy") else "2026-07-28")
    tools = (await client.list_tools()).tools
    names = [tool.name for tool in tools]
    check(f"{way}: tools", names, ["search", "get", "recent", "related", "remember", "forget"])
    for tool in tools:
        hints = tool.annotations
        hints = [hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint]
        check(f"{way}: hints of {tool.name}", None in hints, False)

    async def done(name, **arguments):
        result = await client.call_tool(name, arguments)
        check(f"{way}: {name} {result.content}", bool(result.is_error), False)
        check(f"{way}: {name} says the same twice", json.loads(result.content[0].text), result.structured_content)
        return result.structured_content

    stored = await done("remember", texts=[text])
    check(f"{way}: searchable", stored["searchable"], True)
    found = await done("search", query=text, k=3)
    check(f"{way}: found", found["grains"][0]["text"], text)
    identity = found["grains"][0]["id"]
    check(f"{way}: got", (await done("get", id=identity, context=1))["grain"]["whose"], "own")
    check(f"{way}: newest", (await done("recent", k=1))["grains"][0]["id"], identity)
    await done("related", id=identity)
    read = await client.read_resource(f"grain://{identity}")
    check(f"{way}: read", json.loads(read.contents[0].text)["text"], text)
    check(f"{way}: forgotten", await done("forget", ids=[identity]), {"forgotten": [identity], "refused": []})
    gone = await client.call_tool("get", {"id": identity})
    check(f"{way}: gone", gone.is_error, True)


async def main(program, folder, url, token):
    command = mcp.StdioServerParameters(
        command=program, args=["--data-dir", folder, "mcp", "--write", "--topic", "notes"], env=dict(os.environ)
    )
    for mode in ["auto", "legacy"]:
        async with mcp.Client(command, mode=mode) as client:
            await use(f"stdio, {mode}", client, f"The router stands in the cellar, says {mode} on stdio.")
        http = create_mcp_http_client(headers={"Authorization": f"Bearer {token}"})
        async with http, mcp.Client(streamable_http_client(f"{url}?topic=notes", http_client=http), mode=mode) as client:
            await use(f"HTTP, {mode}", client, f"The printer stands in the hall, says {mode} over HTTP.")
    print(f"check_agents.py: {checks} checks hold")


asyncio.run(main(*sys.argv[1:]))
