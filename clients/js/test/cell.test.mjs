// Puts, lists, gets and deletes on a real cell, whose addresses are in DATANODE_ADDR.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client } from '../lib/client.mjs';
import { Connection } from '../lib/conn.mjs';
import { formatLocator, ops, parseLocator } from '../lib/bodies.mjs';
import { sessions } from '../lib/frame.mjs';

const addr = process.env.DATANODE_ADDR;
const options = { skip: addr ? false : 'set DATANODE_ADDR to the addresses of a cell' };
const cli = fileURLToPath(new URL('../cli.mjs', import.meta.url));

/** Bytes that differ from place to place, so that none can be taken for another's. */
function pattern(length, seed) {
  const out = Buffer.alloc(length);
  for (let i = 0, x = seed >>> 0 || 1; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
}

const put = (client, bytes, o) => client.put(() => [bytes], { length: BigInt(bytes.length), ...o });

async function get(client, locator) {
  const parts = [];
  for await (const bytes of client.get(locator)) parts.push(bytes);
  return Buffer.concat(parts);
}

async function withClient(use) {
  const client = new Client(addr.split(','));
  try {
    await use(client);
  } finally {
    client.close();
  }
}

test('what is put is got, listed, and gone once deleted', options, () => withClient(async (client) => {
  // 20 MB is more than both windows: credit must come back, both ways.
  for (const [seed, length] of [[1, 1], [2, 1000], [3, 262145], [4, 20_000_000]]) {
    const bytes = pattern(length, seed);
    const locator = await put(client, bytes, { className: 'js' });
    assert.equal(locator.length, BigInt(length));
    assert.ok((await get(client, locator)).equals(bytes), `${formatLocator(locator)} is not what was put`);
    const listed = await client.extent(locator.extent);
    assert.equal(listed.class, 'js');
    assert.equal(listed.replicas.length, Number(listed.want));
  }
  const bytes = pattern(9_000_000, 5); // in an extent of its own
  const locator = await put(client, bytes);
  const ids = async () => { const all = []; for await (const e of client.extents()) if (e.state !== 'deleted') all.push(e.id); return all; };
  assert.ok((await ids()).includes(locator.extent));
  const op = await client.delete(locator.extent);
  assert.equal(op.kind, 'delete');
  assert.equal(op.decision.policy !== '', true);
  assert.ok(!(await ids()).includes(locator.extent));
  await assert.rejects(get(client, locator), { name: 'DatanodeError', codeName: 'not-found', outcome: 1 });
}));

test('many calls at once, each gets its own answer', options, () => withClient(async (client) => {
  await Promise.all(Array.from({ length: 60 }, async (_, i) => {
    const bytes = pattern(3000 + 997 * i, 100 + i);
    const locator = await put(client, bytes);
    assert.ok((await get(client, locator)).equals(bytes), `put ${i}`);
  }));
}));

test('a reader that stops early leaves the connection usable', options, () => withClient(async (client) => {
  const bytes = pattern(12_000_000, 6);
  const locator = await put(client, bytes);
  for (let i = 0; i < 12; i++) { // more than the session's window, if dropped chunks were not granted back
    await assert.doesNotReject(async () => { for await (const first of client.get(locator)) { assert.ok(first.equals(bytes.subarray(0, first.length))); break; } });
  }
  assert.ok((await get(client, locator)).equals(bytes));
}));

test('errors are typed', options, () => withClient(async (client) => {
  await assert.rejects(get(client, { extent: 1n << 40n, offset: 0n, length: 1n }), { codeName: 'not-found', op: ops.read, outcome: 1 });
  await assert.rejects(client.delete(1n << 40n), { name: 'DatanodeError', codeName: 'not-found' });
  await assert.rejects(put(client, pattern(10, 7), { className: 'longer than sixteen bytes' }), { codeName: 'invalid' });
}));

test('a put whose input breaks off is not stored', options, () => withClient(async (client) => {
  async function* broken() { yield pattern(100_000, 8); throw new Error('input broke off'); }
  await assert.rejects(client.put(broken), /input broke off/);
  assert.ok((await client.status()).ready);
}));

test('a put of another length than it announced is refused', options, () => withClient(async (client) => {
  for (const [length, came] of [[5, 3], [2, 3], [3_000_000, 2_999_999], [3_000_000, 3_000_001], [0, 20_000_000]]) {
    await assert.rejects(put(client, pattern(came, 11), { length: BigInt(length) }), { codeName: 'invalid', outcome: 1 }, `${came} of ${length}`);
  }
}));

test('without the feature of chunk offsets it works, too', options, async () => {
  const [host, port] = addr.split(',')[0].split(':');
  const conn = await Connection.dial({ host, port: Number(port), hello: { features: 0n } });
  const call = conn.start(ops.put, { session: sessions.client, body: Buffer.from([0x93, 0xa0, 0xff, 0]), send: true });
  await call.send(pattern(700_000, 9));
  await call.end();
  assert.equal((await call.reply()).body[0] & 0xf0, 0x90); // an array: the locator
  assert.equal(conn.inFlight, 0);
  conn.close();
});

test('the command line', options, () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'datanode-js-'));
  const run = (...args) => spawnSync(process.execPath, [cli, '--addr', addr, ...args], { maxBuffer: 64 << 20 });
  try {
    const bytes = pattern(500_000, 10);
    fs.writeFileSync(path.join(dir, 'f'), bytes);
    const stored = run('put', path.join(dir, 'f'));
    assert.equal(stored.status, 0, stored.stderr.toString());
    const text = stored.stdout.toString().trim();
    assert.ok(run('get', text).stdout.equals(bytes));
    const { extent } = parseLocator(text);
    const row = () => run('ls').stdout.toString().split('\n').find((l) => l.startsWith(`${extent}\t`)) ?? 'gone\tdeleted';
    assert.match(row(), /open|sealed/);
    assert.equal(run('rm', String(extent)).status, 0);
    assert.match(row(), /deleted/);
    assert.equal(run('get', text).status, 3);
    assert.equal(run('put').status, 2);
    if (fs.existsSync('/proc/version')) assert.equal(run('put', '/proc/version').status, 0); // its size is 0
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
