#!/usr/bin/env node
// Puts, gets, lists and deletes, on a cell of datanodes.
import fs from 'node:fs';
import { once } from 'node:events';
import { Client } from './lib/client.mjs';
import { formatLocator, parseLocator } from './lib/bodies.mjs';

const usage = `usage: node cli.mjs [--addr HOST:PORT,...] put FILE|- | get LOCATOR | ls | rm EXTENT
The address is also taken from DATANODE_ADDR; otherwise it is 127.0.0.1:7400.`;

/** What to announce of a file: a pipe has no length, nor has a file under /proc, whatever its size says. */
const lengthOf = (stat) => (stat.isFile() && stat.size > 0 ? BigInt(stat.size) : -1n);

const commands = {
  async put(client, file) {
    const open = () => (file === '-' ? process.stdin : fs.createReadStream(file));
    const length = file === '-' ? -1n : lengthOf(fs.statSync(file));
    console.log(formatLocator(await client.put(open, { length })));
  },
  async get(client, text) {
    for await (const bytes of client.get(parseLocator(text))) {
      if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
    }
  },
  async ls(client) {
    for await (const e of client.extents()) {
      console.log([e.id, e.state, e.length, `${e.live}/${e.want}`, e.replicas.map((r) => r.node).join(',') || '-'].join('\t'));
    }
  },
  async rm(client, extent) { await client.delete(BigInt(extent)); },
};
const operands = { put: 1, get: 1, ls: 0, rm: 1 };

async function main(args) {
  let addr = process.env.DATANODE_ADDR || '127.0.0.1:7400';
  if (args[0] === '--addr') [, addr] = args.splice(0, 2);
  const [name, ...rest] = args;
  if (!Object.hasOwn(commands, name ?? '') || rest.length !== operands[name]) {
    console.error(usage);
    return 2;
  }
  const client = new Client(addr.split(','));
  try {
    await commands[name](client, ...rest);
    return 0;
  } catch (e) {
    console.error(`datanode-js: ${e.message}`);
    return { 'not-found': 3, conflict: 4, precondition: 4, envelope: 4, unavailable: 5, connection: 5, corrupt: 6 }[e.codeName] ?? 1;
  } finally {
    client.close();
  }
}

process.exitCode = await main(process.argv.slice(2));
