// One call of a connection, as the caller has it. See the diagrams of docs/wire.md.
import { CHUNK_COST, flagEnd } from './frame.mjs';
import { DatanodeError, codes, outcomes } from './error.mjs';

export class Call {
  /** Whether the final frame has come, or the caller or the connection has given up. */
  ended = false;
  /** Credit left for chunks to the other side, and raw bytes sent. Connection moves them. */
  credit;
  sent = 0n;
  /** What has come: cost used and owed to the other side, raw bytes, and whether the last was there. */
  received;

  #conn;
  #sendEnded;
  #queue = []; // chunks that nobody has consumed; within the call's window
  #abandoned = false;
  #wakeUps = [];
  #resolve;
  #reject;
  #timer;

  constructor(conn, { op, id, session }, { send, receive, credit, deadlineMs }) {
    this.#conn = conn;
    this.name = { op, id, session };
    Object.assign(this, this.name, { credit });
    this.received = { used: 0, owed: 0, bytes: 0n, ended: !receive };
    this.#sendEnded = !send;
    this.result = new Promise((resolve, reject) => { this.#resolve = resolve; this.#reject = reject; });
    if (deadlineMs > 0) this.#timer = setTimeout(() => this.#giveUp(codes.deadline, `not answered within ${deadlineMs} ms`), deadlineMs);
  }

  /** The response: { body, raw, fence, index }. Throws the DatanodeError that the call ended with. */
  reply() { return this.result; }

  /** Sends bytes as chunks, when there is credit for them. False: the call has ended, see reply(). */
  async send(bytes) {
    if (this.#sendEnded) throw new Error('send after the last chunk');
    for (let at = 0; at < bytes.length; at += this.#conn.chunkBytes) {
      if (!await this.#conn.sendChunk(this, bytes.subarray(at, at + this.#conn.chunkBytes), 0)) return false;
    }
    return true;
  }

  /** Says that no chunk follows. */
  async end() {
    this.#sendEnded = true;
    return this.#conn.sendChunk(this, Buffer.alloc(0), flagEnd);
  }

  /** Yields the other side's chunks until its final frame is there. A failure comes from reply(). */
  async *chunks() {
    for (;;) {
      while (this.#queue.length > 0) {
        const raw = this.#queue.shift();
        this.#conn.consumed(this, raw.length + CHUNK_COST);
        yield raw;
      }
      if (this.ended || this.received.ended) return;
      await this.moved();
    }
  }

  /** Gives up. The connection stays usable: what still comes for the call is checked and dropped. */
  cancel() { this.#giveUp(codes.cancelled, 'the caller gave up'); }

  #giveUp(code, detail) {
    this.#abandoned = true;
    if (!this.ended) {
      this.#conn.sendCancel(this);
      this.#settle(new DatanodeError({ op: this.op, code, outcome: outcomes.unknown, detail }));
    }
    for (const raw of this.#queue.splice(0)) this.#conn.consumed(this, raw.length + CHUNK_COST);
  }

  // For the connection.

  /** Keeps a chunk for the caller; false if nobody wants it. */
  takeChunk(raw) {
    if (this.#abandoned) return raw.length === 0;
    if (raw.length > 0) this.#queue.push(Buffer.from(raw));
    this.wake();
    return true;
  }

  /** The final frame is there, or the connection's end. */
  finish(error, reply) {
    if (!this.ended) this.#settle(error, reply);
  }

  #settle(error, reply) {
    this.ended = true;
    clearTimeout(this.#timer);
    this.result.catch(() => {}); // not unhandled if only chunks are asked for
    if (error) this.#reject(error);
    else this.#resolve(reply);
    this.wake();
  }

  /** Waits until credit or a chunk has come, or the call has ended. */
  moved() { return new Promise((resolve) => this.#wakeUps.push(resolve)); }

  wake() { for (const resolve of this.#wakeUps.splice(0)) resolve(); }
}
