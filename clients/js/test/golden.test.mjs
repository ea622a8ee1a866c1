// Holds the codec to wire/testdata/frames, byte for byte, both ways.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { ErrorBody, Hello } from '../lib/bodies.mjs';
import { encodeFrame, frameSize, kinds, parseFrame } from '../lib/frame.mjs';
import { marshal, unmarshal } from '../lib/msgpack.mjs';

const file = new URL('../../../wire/testdata/frames', import.meta.url);
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

const handlers = {
  frame({ args, want }) {
    same({ ...headerOf(args), body: bytesOf(args.body ?? ''), raw: bytesOf(args.raw ?? '') }, want);
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
  parse({ input, want }) { // what must be refused; the words are each implementation's own
    assert.match(want, /^(frame|header)/);
    assert.throws(() => parseFrame(bytesOf(input)));
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
