// A peer that breaks the rules of docs/wire.md, one at a time: each poisons the connection. And a peer
// that comes close to it, but breaks none.
import assert from 'node:assert/strict';
import net from 'node:net';
import { once } from 'node:events';
import test from 'node:test';
import { Connection } from '../lib/conn.mjs';
import { ErrorBody, Hello, ops } from '../lib/bodies.mjs';
import { crc32c, encodeFrame, flagEnd, frameSize, kinds, parseFrame, sessions, uint } from '../lib/frame.mjs';
import { codes, outcomes } from '../lib/error.mjs';
import { marshal, scan } from '../lib/msgpack.mjs';

const hello = {
  magic: 'datanode', oldest: 1, newest: 1, cell: 'c1', node: 'n1', incarnation: 1n, features: 1n,
  largestFrame: 65536, window: 4096, sessionWindow: 8192, callsInFlight: 2,
};

/** A node that greets and then does as it is told. Frames of the client are read with next(). */
class Peer {
  static async listen(greeting = hello) {
    const peer = new Peer();
    peer.server = net.createServer((socket) => peer.#serve(socket, greeting)).listen(0, '127.0.0.1');
    await once(peer.server, 'listening');
    return peer;
  }

  #frames = [];
  #waiting = [];
  #preamble = false;
  #buf = Buffer.alloc(0);

  get port() { return this.server.address().port; }

  #serve(socket, greeting) {
    this.socket = socket.on('error', () => {});
    socket.on('data', (data) => {
      this.#buf = Buffer.concat([this.#buf, data]);
      if (!this.#preamble) {
        assert.equal(this.#buf[0], 0x44);
        this.#preamble = true;
        this.#buf = this.#buf.subarray(1);
        if (greeting) this.send({ kind: kinds.hello, body: marshal(Hello, greeting) });
      }
      while (this.#buf.length >= 4 && this.#buf.length >= frameSize(this.#buf)) {
        const size = frameSize(this.#buf);
        this.#frames.push(parseFrame(this.#buf.subarray(0, size)));
        this.#buf = this.#buf.subarray(size);
        this.#waiting.shift()?.();
      }
    });
  }

  send(frame) { this.sendBytes(encodeFrame(frame)); }

  sendBytes(bytes) { this.socket.write(bytes); }

  async next(kind) {
    while (this.#frames.length === 0) await new Promise((resolve) => { this.#waiting.push(resolve); });
    const frame = this.#frames.shift();
    assert.equal(frame.kind, kinds[kind]);
    return frame;
  }

  close() {
    this.socket?.destroy();
    this.server.close();
  }
}

/** Connects to a peer with small windows and hands both to use. */
async function withPeer(use, greeting) {
  const peer = await Peer.listen(greeting);
  try {
    const conn = await Connection.dial({ port: peer.port, hello: { largestFrame: 65536, window: 4096, sessionWindow: 8192 } });
    await peer.next('hello');
    try {
      await use(peer, conn);
    } finally {
      conn.close();
    }
  } finally {
    peer.close();
  }
}

const name = { op: ops.read, session: sessions.client, id: 1n };
const flip = (frame) => { const b = encodeFrame(frame); b[b.length - 1] ^= 1; return b; };
const raw = (n) => Buffer.alloc(n, 7);
const chunk = (bytes, index, more) => ({ kind: kinds.chunk, ...name, raw: bytes, index, ...more });

// What the peer sends while call 1, a read that takes chunks, is in flight: the kind of mismatch and what is said
// about it, then the frames.
const broken = {
  'a response with another ID': ['unknown-call', /./, { kind: kinds.response, ...name, id: 2n }],
  'a response with another operation': ['operation', /./, { kind: kinds.response, ...name, op: ops.put }],
  'a response in another session': ['session', /./, { kind: kinds.response, ...name, session: sessions.repair }],
  'an error with another operation': ['operation', /./, { kind: kinds.error, ...name, op: ops.put, body: marshal(ErrorBody, { op: 1, code: 1, outcome: 1 }) }],
  'an error in another session': ['session', /./, { kind: kinds.error, ...name, session: sessions.delete, body: marshal(ErrorBody, { op: 1, code: 1, outcome: 1 }) }],
  'an error whose body is not one': ['', /Error.op/, { kind: kinds.error, ...name, body: Buffer.from([0x91, 0xa1, 0x61]) }],
  'an error without a body': ['', /ends in the middle/, { kind: kinds.error, ...name }],
  'a chunk with another ID': ['unknown-call', /./, chunk(raw(1), 0n, { id: 9n })],
  'a chunk with another operation': ['operation', /./, chunk(raw(1), 0n, { op: ops.append })],
  'a chunk in another session': ['session', /./, chunk(raw(1), 0n, { session: sessions.append })],
  'a chunk that comes twice': ['chunk', /./, chunk(raw(5), 0n), chunk(raw(5), 0n)],
  'a chunk that overtakes another': ['chunk', /./, chunk(raw(5), 5n)],
  'a chunk after the last one': ['chunk', /./, chunk(raw(5), 0n, { flags: flagEnd }), chunk(raw(5), 5n)],
  'a chunk with a body': ['', /with a body/, chunk(raw(5), 0n, { body: Buffer.from([0xc0]) })],
  'a chunk without bytes that is not the last': ['', /without bytes/, chunk(raw(0), 0n)],
  'more chunks than the call has credit for': ['', /window of call 1/, chunk(raw(2000), 0n), chunk(raw(2000), 2000n)],
  'credit with another operation': ['operation', /./, { kind: kinds.credit, ...name, op: ops.put, body: uint(1) }],
  'credit that was not used': ['', /only 0 was used/, { kind: kinds.credit, ...name, body: uint(1) }],
  'credit of a session that was not used': ['', /only 0 was used/, { kind: kinds.credit, session: 1, body: uint(1) }],
  'credit that is no number': ['', /unsigned integer/, { kind: kinds.credit, session: 1, body: Buffer.from([0xc0]) }],
  'credit of two numbers': ['', /more than one/, { kind: kinds.credit, session: 1, body: Buffer.from([0, 0]) }],
  'credit without a body': ['', /unsigned integer/, { kind: kinds.credit, session: 1 }],
  'a request': ['direction', /./, { kind: kinds.request, ...name }],
  'a cancel': ['direction', /./, { kind: kinds.cancel, ...name }],
  'a second hello': ['direction', /./, { kind: kinds.hello, body: marshal(Hello, hello) }],
  'a pong without a ping': ['pong', /./, { kind: kinds.pong, id: 1n }],
  'an unknown kind': ['', /unknown kind 11/, { kind: 11, ...name }],
  'an unknown session': ['', /unknown session 6/, { kind: kinds.response, ...name, session: 6 }],
  'a response without an ID': ['', /above zero/, { kind: kinds.response, ...name, id: 0n }],
  'a wrong CRC': ['', /CRC/, flip({ kind: kinds.response, ...name })],
  'a frame that is too large': ['', /65537 bytes/, Buffer.from([0xfd, 0xff, 0, 0])],
  'a frame that is too small': ['', /17 bytes/, Buffer.from([13, 0, 0, 0])],
};

for (const [title, [mismatch, reason, ...frames]] of Object.entries(broken)) {
  test(`poison: ${title}`, () => withPeer(async (peer, conn) => {
    const call = conn.start(ops.read, { session: sessions.client, receive: true });
    await peer.next('request');
    for (const f of frames) Buffer.isBuffer(f) ? peer.sendBytes(f) : peer.send(f);
    await assert.rejects(call.reply(), { name: 'DatanodeError', code: codes.connection, outcome: outcomes.unknown, message: reason });
    assert.ok(conn.poisoned);
    assert.equal(conn.mismatch, mismatch, conn.failure.message);
    assert.throws(() => conn.start(ops.status), { code: codes.connection, outcome: outcomes.notDone });
  }));
}

// What the peer sends after call 1 has ended, while call 2 is in flight: that fails too.
for (const [title, [mismatch, frame]] of Object.entries({
  'a second final frame': ['ended-call', { kind: kinds.response, ...name }],
  'a chunk of a call that has ended': ['ended-call', chunk(raw(1), 0n)],
  'credit for a call that has ended': ['ended-call', { kind: kinds.credit, ...name, body: uint(1) }],
  'a chunk to a caller who takes none': ['chunk', { ...chunk(raw(1), 0n), id: 2n }],
})) {
  test(`poison: ${title}`, () => withPeer(async (peer, conn) => {
    const first = conn.start(ops.read, { session: sessions.client, receive: true });
    peer.next('request').then(() => peer.send({ kind: kinds.response, ...name, body: Buffer.from([0x90]) }));
    assert.deepEqual((await first.reply()).body, Buffer.from([0x90]));
    const second = conn.start(ops.read, { session: sessions.client });
    await peer.next('request');
    peer.send(frame);
    await assert.rejects(second.reply(), { code: codes.connection, outcome: outcomes.unknown });
    assert.equal(conn.mismatch, mismatch, conn.failure.message);
  }));
}

test('poison: more chunks than the session has credit for', () => withPeer(async (peer, conn) => {
  const calls = [1n, 2n, 3n].map(() => conn.start(ops.read, { session: sessions.client, receive: true }));
  for (const { id } of calls) peer.send(chunk(raw(3000), 0n, { id }));
  await assert.rejects(calls[0].reply(), { code: codes.connection, message: /window of session 1/ });
}, { ...hello, callsInFlight: 3 }));

test('poison: a chunk that is larger than any may be', async () => {
  const peer = await Peer.listen({ ...hello, largestFrame: 1 << 20 });
  try {
    const conn = await Connection.dial({ port: peer.port });
    const call = conn.start(ops.read, { session: sessions.client, receive: true });
    peer.send(chunk(raw(262144), 0n));
    peer.send(chunk(raw(262145), 262144n));
    await assert.rejects(call.reply(), { code: codes.connection, message: /chunk of 262145 bytes/ });
  } finally {
    peer.close();
  }
});

test('a request that is larger than agreed is not sent', () => withPeer(async (peer, conn) => {
  assert.throws(() => conn.start(ops.status, { body: raw(65536) }), { code: codes.invalid, outcome: outcomes.notDone });
  conn.start(ops.status);
  assert.equal((await peer.next('request')).id, 1n);
}));

test('late frames of a cancelled call are checked, dropped and granted back', () => withPeer(async (peer, conn) => {
  const call = conn.start(ops.read, { session: sessions.client, receive: true });
  await peer.next('request');
  call.cancel();
  await assert.rejects(call.reply(), { code: codes.cancelled });
  await peer.next('cancel');
  peer.send(chunk(raw(2000), 0n));
  const credit = await peer.next('credit');
  assert.deepEqual([credit.id, credit.op, credit.session, credit.body], [0n, 0, sessions.client, uint(2256)]);
  assert.equal(conn.inFlight, 1);
  peer.send({ kind: kinds.response, ...name });
  peer.send({ kind: kinds.ping, id: 3n });
  assert.equal((await peer.next('pong')).id, 3n);
  assert.equal(conn.inFlight, 0);
  assert.equal(conn.failure, null);
}));

test('late frames of a cancelled call in another session poison', () => withPeer(async (peer, conn) => {
  const call = conn.start(ops.read, { session: sessions.client, receive: true });
  const other = conn.start(ops.status);
  call.cancel();
  await assert.rejects(call.reply(), { code: codes.cancelled });
  peer.send(chunk(raw(1), 0n, { session: sessions.repair }));
  await assert.rejects(other.reply(), { code: codes.connection });
  assert.ok(conn.poisoned);
}));

test('a sender waits for the credit of the call and of the session', () => withPeer(async (peer, conn) => {
  const call = conn.start(ops.put, { session: sessions.client, send: true });
  await peer.next('request');
  const sending = call.send(raw(6000)).then(() => call.end());
  const sizes = [(await peer.next('chunk')).raw.length, (await peer.next('chunk')).raw.length];
  assert.deepEqual(sizes, [1792, 1792]); // half of the window with its cost
  const of = { op: ops.put, session: sessions.client, id: 1n };
  peer.send({ kind: kinds.credit, ...of, body: uint(4096) });
  const third = await peer.next('chunk');
  assert.equal(third.index, 3584n);
  const last = await peer.next('chunk');
  assert.deepEqual([last.raw.length, last.index], [624, 5376n]);
  const end = await peer.next('chunk');
  assert.deepEqual([end.raw.length, end.index, end.flags], [0, 6000n, flagEnd]);
  peer.send({ kind: kinds.response, ...of });
  await sending;
  await call.reply();
}));

test('a final frame ends a sender that waits for credit', () => withPeer(async (peer, conn) => {
  const call = conn.start(ops.put, { session: sessions.client, send: true });
  await peer.next('request');
  const sending = call.send(raw(20000));
  peer.send({ kind: kinds.error, op: ops.put, session: sessions.client, id: 1n, body: marshal(ErrorBody, { op: 1, code: 15, outcome: 1, node: 'n2', detail: 'full' }) });
  assert.equal(await sending, false);
  await assert.rejects(call.reply(), { codeName: 'no-space', outcome: outcomes.notDone, node: 'n2', detail: 'full' });
}));

test('calls in flight are bounded, and none starts after goaway', () => withPeer(async (peer, conn) => {
  const one = conn.start(ops.status);
  conn.start(ops.status);
  assert.throws(() => conn.start(ops.status), { code: codes.exhausted, outcome: outcomes.notDone });
  peer.send({ kind: kinds.goaway });
  peer.send({ kind: kinds.response, op: ops.status, session: sessions.control, id: 1n, index: 1n << 60n });
  assert.equal((await one.reply()).index, 1n << 60n);
  assert.throws(() => conn.start(ops.status), { code: codes.unavailable, outcome: outcomes.notDone });
}));

test('a call ends by itself at its deadline', () => withPeer(async (peer, conn) => {
  const call = conn.start(ops.status, { deadlineMs: 1 });
  assert.equal((await peer.next('request')).deadline, 1000n);
  await assert.rejects(call.reply(), { code: codes.deadline, outcome: outcomes.unknown });
  await peer.next('cancel');
}));

test('headers and bodies may grow at their end', () => withPeer(async (peer, conn) => {
  const call = conn.start(ops.status);
  await peer.next('request');
  const longer = Buffer.from([0, 0, 0, 0, 0x9a, kinds.response, ops.status, 1, sessions.control, 0, 0, 0, 0, 1, 0x55, 0x90]);
  longer.writeUInt32LE(longer.length, 0); // the four of its own are as many as the CRC's
  const crc = Buffer.alloc(4);
  crc.writeUInt32LE(crc32c(longer));
  peer.sendBytes(Buffer.concat([longer, crc]));
  assert.deepEqual((await call.reply()).body, Buffer.from([0x90]));
}));

for (const [title, wrong, code] of [
  ['another magic', { magic: 'datanodf' }, codes.protocol],
  ['a newer version only', { oldest: 2, newest: 3 }, codes.protocol],
  ['another cell', { cell: 'c2' }, codes['wrong-cell']],
  ['another node', { node: 'n2' }, codes['wrong-cell']],
  ['a window that is too small', { window: 4095 }, codes.protocol],
  ['a largest frame that is too small', { largestFrame: 65535 }, codes.protocol],
  ['no calls', { callsInFlight: 0 }, codes.protocol],
]) {
  test(`greeting refused: ${title}`, async () => {
    const peer = await Peer.listen({ ...hello, ...wrong });
    try {
      await assert.rejects(Connection.dial({ port: peer.port, hello: { cell: 'c1' }, expect: 'n1' }), { name: 'DatanodeError', code });
    } finally {
      peer.close();
    }
  });
}

test('greeting refused: something else before a hello', async () => {
  const peer = await Peer.listen(null);
  try {
    const dialed = Connection.dial({ port: peer.port });
    await peer.next('hello');
    peer.send({ kind: kinds.response, op: ops.status, session: sessions.control, id: 1n, body: marshal(Hello, hello) });
    await assert.rejects(dialed, { name: 'DatanodeError', code: codes.connection });
  } finally {
    peer.close();
  }
});

test('greeting with a newer peer that speaks this version', () => withPeer(async (peer, conn) => {
  assert.equal(conn.peer.newest, 9);
}, { ...hello, newest: 9, features: 0xffn }));

test('bodies that are refused before they are decoded', () => {
  const bad = {
    nothing: [], 'two values': [0xc0, 0xc0], 'a value that ends early': [0xcd, 1], 'a string longer than the rest': [0xdb, 0xff, 0xff, 0xff, 0xff, 1],
    'an array of more than the rest': [0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0], 'a map of more than the rest': [0x82, 1, 1, 1],
    'an extension': [0xd4, 1, 1], 'a code that is never used': [0xc1], 'a nesting of 17': [...Array(17).fill(0x91), 0xc0],
  };
  for (const [title, bytes] of Object.entries(bad)) assert.throws(() => scan(Buffer.from(bytes)), title);
  scan(Buffer.from([...Array(16).fill(0x91), 0xc0]));
});
