// A client of a cell: put, get, list, delete ("Operations" of docs/wire.md).
import { Connection } from './conn.mjs';
import { ExtentsReply, ExtentsRequest, Locator, OpsReply, PutRequest, ReadReply, ReadRequest, SessionReply, SessionRequest, Status, SubmitReply, SubmitRequest, WaitRequest, formatLocator, ops } from './bodies.mjs';
import { sessions } from './frame.mjs';
import { DatanodeError, codes, outcomes } from './error.mjs';
import { marshal, unmarshal } from './msgpack.mjs';

const ATTEMPTS = 40; // of one call, over all addresses
const PAUSE_MS = 250; // after each round of addresses
const WAIT_ROUND_MICROS = 20_000_000n;
const ASK_MS = 30_000; // more than a round of waiting
const passing = new Set([codes.unavailable, codes.exhausted, codes.connection]);

/** Tells whether nothing more will happen to an operation. */
export const ended = (op) => op.state !== 'queued' && op.state !== 'running';

/** Waits for a call's response and decodes it. What cannot be decoded was done all the same. */
async function replyOf(call, struct) {
  const { body, index } = await call.reply();
  try {
    return { value: unmarshal(struct, body), index };
  } catch (e) {
    throw new DatanodeError({ op: call.op, code: codes.protocol, outcome: outcomes.done, detail: `the reply cannot be understood: ${e.message}` });
  }
}

/** Sends all that source yields and the end, and says how many bytes. A source that breaks off cancels the call. */
async function sendAll(call, source) {
  let sent = 0n;
  try {
    for await (const bytes of source) {
      if (!await call.send(bytes)) return sent;
      sent += BigInt(bytes.length);
    }
  } catch (e) {
    call.cancel();
    throw e;
  }
  await call.end();
  return sent;
}

export class Client {
  #addrs;
  #at = 0; // the address that is used
  #conn = null;
  #dialing = null;
  #session = 0n;
  #seq = 0n;
  #seen = 0n; // highest log index that this client was told of

  /** addrs: HOST:PORT of some nodes of the cell. */
  constructor(addrs) { this.#addrs = addrs; }

  close() { this.#conn?.close(); }

  /**
   * Stores the Buffers that open() yields, and returns the locator once they are durable on all replicas.
   * open is called again if an attempt fails and the cell says that nothing was stored.
   */
  put(open, { length = -1n, className = '', extent = 0n } = {}) {
    const body = marshal(PutRequest, { class: className, length, extent, whole: false });
    return this.#repeat((e) => e.outcome === outcomes.notDone, async (conn) => {
      const call = conn.start(ops.put, { session: sessions.client, body, send: true });
      const sent = await sendAll(call, open());
      const { value: locator } = await replyOf(call, Locator);
      if (locator.length === sent) return locator;
      throw new DatanodeError({ op: ops.put, code: codes.protocol, outcome: outcomes.unknown, detail: `${sent} bytes were sent, the cell says ${formatLocator(locator)}` });
    });
  }

  /** Yields the bytes that a locator names, and checks that they are all there. */
  async *get(locator) {
    const body = marshal(ReadRequest, { locator });
    // A node that cannot read says so in place of the first chunk; only until then another is asked.
    const { call, chunks, first } = await this.#repeat(() => true, async (conn) => {
      const call = conn.start(ops.read, { session: sessions.client, body, receive: true, index: this.#seen });
      const chunks = call.chunks();
      const first = await chunks.next();
      if (first.done) await call.reply();
      return { call, chunks, first };
    });
    let got = 0n;
    try {
      for (let next = first; !next.done; next = await chunks.next()) {
        const bytes = next.value;
        got += BigInt(bytes.length);
        yield bytes;
      }
    } finally {
      call.cancel(); // nothing if it has ended
    }
    const { value: reply } = await replyOf(call, ReadReply);
    if (got !== locator.length || reply.length !== got) {
      throw new DatanodeError({ op: ops.read, code: codes.protocol, detail: `${got} bytes came, the node says ${reply.length}, ${locator.length} were asked for` });
    }
  }

  /** Yields all extents by ID. */
  async *extents() {
    for (let from = 0n; ;) {
      const reply = await this.#ask(ops.extents, ExtentsRequest, { from }, ExtentsReply);
      yield* reply.extents;
      if (reply.next === 0n) return;
      from = reply.next;
    }
  }

  /** Describes one extent. */
  async extent(id) { return (await this.#ask(ops.extents, ExtentsRequest, { from: id, one: true }, ExtentsReply)).extents[0]; }

  status() { return this.#ask(ops.status, null, null, Status); }

  /** Deletes an extent and returns the operation once it has ended as it should. */
  async delete(extent) {
    const [admitted] = await this.submit([{ kind: 'delete', extent }]);
    if (admitted.code !== 0) throw new DatanodeError({ op: ops.submit, code: admitted.code, detail: admitted.detail });
    const [op] = await this.wait([admitted.op]);
    if (op.state !== 'done') throw new DatanodeError({ op: ops.submit, code: codes.precondition, outcome: outcomes.unknown, detail: `operation ${op.id} is ${op.state}: ${op.detail}` });
    return op;
  }

  /** Asks for operations. Each is numbered, so that the same request may be repeated and still runs once. */
  async submit(list) {
    if (this.#session === 0n) this.#session = (await this.#ask(ops.session, SessionRequest, { client: 'javascript' }, SessionReply)).session;
    const submit = list.map((s) => ({ ...s, seq: ++this.#seq }));
    const { results } = await this.#ask(ops.submit, SubmitRequest, { session: this.#session, submit }, SubmitReply);
    for (const { op } of results) this.#saw(op);
    return results;
  }

  /** Waits until all of the operations have ended, in whatever way. */
  async wait(ids) {
    for (;;) {
      const reply = await this.#ask(ops.wait, WaitRequest, { ops: ids, patience: WAIT_ROUND_MICROS }, OpsReply);
      if (reply.ops.every(ended)) return reply.ops;
    }
  }

  #saw(op) {
    const index = BigInt(op.split('.')[0] || 0);
    if (index > this.#seen) this.#seen = index;
  }

  /** Makes a call without chunks, of those that may be repeated: they look, or are numbered. */
  #ask(op, request, value, reply) {
    const body = request ? marshal(request, value) : undefined;
    return this.#repeat(() => true, async (conn) => {
      const call = conn.start(op, { body, index: this.#seen, deadlineMs: ASK_MS });
      const { value, index } = await replyOf(call, reply);
      if (index > this.#seen) this.#seen = index;
      return value;
    });
  }

  /** Makes attempts, at one node after the other, while they fail for a reason that passes and safe allows it. */
  async #repeat(safe, work) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work(await this.#connected());
      } catch (e) {
        if (!passing.has(e.code) || !safe(e) || attempt >= ATTEMPTS) throw e;
        this.#another();
        if (attempt % this.#addrs.length === 0) await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
      }
    }
  }

  async #connected() {
    if (this.#conn && !this.#conn.failure && !this.#conn.draining) return this.#conn;
    this.#dialing ??= this.#dial().finally(() => { this.#dialing = null; });
    return this.#dialing;
  }

  /** Connects to the first address that can be, from the present one on. */
  async #dial() {
    for (let tries = 1; ; tries++) {
      const [, host, port] = /^\[?(.*?)\]?:([0-9]+)$/.exec(this.#addrs[this.#at]) ?? [];
      try {
        return this.#conn = await Connection.dial({ host, port: Number(port) });
      } catch (e) {
        if (tries >= this.#addrs.length) throw e;
        this.#another();
      }
    }
  }

  /** Turns to the next address. Calls that still run on the present connection go on. */
  #another() {
    this.#at = (this.#at + 1) % this.#addrs.length;
    this.#conn = null;
  }
}
