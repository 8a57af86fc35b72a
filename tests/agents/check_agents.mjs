// The official library for JavaScript as an agent of a node: on standard input and output and over HTTP. It checks each answer against
// the schema that the tool gave.
//
//     check_agents.mjs PROGRAM FOLDER URL TOKEN
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [program, folder, url, token] = process.argv.slice(2);

async function use(way, transport) {
  const client = new Client({ name: "check", version: "1" });
  await client.connect(transport);
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name), ["search", "get", "recent", "related", "remember", "forget"]);
  const done = async (name, args) => {
    const result = await client.callTool({ name, arguments: args });
    assert.ok(!result.isError, JSON.stringify(result));
    assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
    return result.structuredContent;
  };
  const text = `The scanner has the address 10.0.0.7, says ${way}.`;
  assert.equal((await done("remember", { texts: [text] })).searchable, true);
  const found = await done("search", { query: text });
  assert.equal(found.grains[0].text, text);
  const { id } = found.grains[0];
  assert.equal((await done("get", { id })).grain.whose, "own");
  const read = await client.readResource({ uri: `grain://${id}` });
  assert.equal(JSON.parse(read.contents[0].text).text, text);
  assert.deepEqual((await done("forget", { ids: [id] })).forgotten, [id]);
  assert.ok((await client.callTool({ name: "get", arguments: { id } })).isError);
  await client.close();
}

const args = ["--data-dir", folder, "mcp", "--write", "--topic", "notes"];
await use("stdio", new StdioClientTransport({ command: program, args, env: process.env }));
const headers = { Authorization: `Bearer ${token}` };
await use("HTTP", new StreamableHTTPClientTransport(new URL(`${url}?topic=notes`), { requestInit: { headers } }));
console.log("check_agents.mjs: all holds");
