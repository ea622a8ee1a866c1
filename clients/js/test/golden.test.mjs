// Holds the codec to wire/testdata/frames, byte for byte, both ways.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import * as b from '../lib/bodies.mjs';
import { encodeFrame, frameSize, kinds, parseFrame } from '../lib/frame.mjs';
import { marshal, unmarshal } from '../lib/msgpack.mjs';

const { ErrorBody, Hello } = b;
const file = process.env.DATANODE_FRAMES ?? new URL('../../../wire/testdata/frames', import.meta.url);
const bytesOf = (hex) => Buffer.from(hex.replace(/\s+/g, ''), 'hex');

/** The cases: { command, args, input, want }, separated by empty lines, with # for comments. */
function cases(text) {
  return text.split(/\n\n+/).map((block) => block.split('\n').filter((l) => l && !l.startsWith('#'))).filter((lines) => lines.length > 0).map((lines) => {
    const line = lines.indexOf('----');
    const [command, ...args] = lines[0].split(' ');
    return {
      command, title: lines[0], args: Object.fromEntries(args.map((a) => a.split('='))),
      input: lines.slice(1, line).join(' '), want: lines.slice(line + 1).join(' '),
    };
  });
}

const headerOf = (a) => ({
  kind: kinds[a.kind], op: Number(a.op ?? 0), id: BigInt(a.id ?? 0), session: Number(a.session ?? 0), flags: Number(a.flags ?? 0),
  deadline: BigInt(a.deadline ?? 0), fence: BigInt(a.fence ?? 0), index: BigInt(a.index ?? 0),
});

// What is in the bodies.
const structs = {
  'hello 0': Hello, 'request 1': b.PutRequest, 'response 1': b.Locator, 'request 2': b.ReadRequest, 'response 2': b.ReadReply,
  'request 10': b.SessionRequest, 'response 10': b.SessionReply, 'request 11': b.SubmitRequest, 'response 11': b.SubmitReply,
  'request 15': b.ExtentsRequest, 'response 15': b.ExtentsReply, 'request 19': b.WaitRequest,
};

const handlers = {
  frame({ args, want }) {
    const f = same({ ...headerOf(args), body: bytesOf(args.body ?? ''), raw: bytesOf(args.raw ?? '') }, want);
    const struct = structs[`${args.kind} ${args.op ?? 0}`];
    if (!struct || f.body.length === 0) return;
    const value = unmarshal(struct, f.body);
    const whole = f.body[0] === (0x90 | struct.fields.length); // else of an older version
    if (whole) assert.equal(marshal(struct, value).toString('hex'), args.body);
  },
  hello({ args, want }) {
    const hello = {
      magic: 'datanode', oldest: 1, newest: 1, cell: args.cell, node: args.node, incarnation: BigInt(args.incarnation), features: BigInt(args.features ?? 0),
      largestFrame: (1 << 20) + (64 << 10), window: 1 << 20, sessionWindow: 8 << 20, callsInFlight: 4096,
    };
    const f = same({ ...headerOf({ kind: 'hello' }), body: marshal(Hello, hello), raw: Buffer.alloc(0) }, want);
    assert.deepEqual(unmarshal(Hello, f.body), hello);
  },
  error({ args, want }) {
    const error = { op: Number(args.op), code: Number(args.code), outcome: Number(args.outcome), node: args.node, detail: args.detail };
    const f = same({ ...headerOf({ ...args, kind: 'error' }), body: marshal(ErrorBody, error), raw: Buffer.alloc(0) }, want);
    assert.deepEqual(unmarshal(ErrorBody, f.body), error);
  },
  parse({ input, want }) {
    const told = /^([a-z]+) ([0-9]+) \S+ flags=([0-9]+) deadline=([0-9]+) fence=([0-9]+) index=([0-9]+) body=([0-9a-f]*) raw=([0-9a-f]*)$/.exec(want);
    if (!told) { // it must be refused; the words are each implementation's own
      assert.throws(() => parseFrame(bytesOf(input)));
      return;
    }
    const f = parseFrame(bytesOf(input));
    const hex = (b) => b.toString('hex');
    assert.deepEqual([kinds[told[1]], ...told.slice(2)], [f.kind, ...[f.id, f.flags, f.deadline, f.fence, f.index].map(String), hex(f.body), hex(f.raw)]);
  },
};

/** Encodes the frame to exactly the bytes wanted, and decodes these to exactly the frame. */
function same(frame, want) {
  const bytes = bytesOf(want);
  assert.equal(encodeFrame(frame).toString('hex'), bytes.toString('hex'));
  assert.equal(frameSize(bytes), bytes.length);
  const got = parseFrame(bytes);
  assert.deepEqual(got, frame);
  return got;
}

for (const c of cases(fs.readFileSync(file, 'utf8'))) {
  test(c.title + (c.input && ` ${c.input.slice(0, 24)}`), () => {
    assert.ok(Object.hasOwn(handlers, c.command), `unknown command ${c.command}`);
    handlers[c.command](c);
  });
}

test('any flipped bit is noticed', () => {
  const frame = encodeFrame({ kind: kinds.request, op: 1, id: 7n, session: 1, body: Buffer.from([0x91, 0xa1, 0x61]), raw: Buffer.from('data') });
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const bad = Buffer.from(frame);
    bad[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(() => parseFrame(bad), `bit ${bit}`);
  }
});
