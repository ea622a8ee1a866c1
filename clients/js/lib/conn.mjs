// One connection to a node: greeting, calls, chunks on credit, and the rules of matching. The dialing
// side only, plaintext. Everything runs on the event loop; a method without `async` never waits.
//
// What arrives is bounded: chunks by the windows of our hello, final frames by the calls in flight.
import net from 'node:net';
import { Call } from './call.mjs';
import { ErrorBody, Hello } from './bodies.mjs';
import { CHUNK_COST, FRAME_OVERHEAD, MAX_CHUNK_BYTES, MAX_HELLO_BYTES, encodeFrame, flagEnd, flagStream, frameSize, kinds, parseFrame, parseUint, sessions, uint } from './frame.mjs';
import { DatanodeError, codes, outcomes } from './error.mjs';
import { marshal, unmarshal } from './msgpack.mjs';

const VERSION = 1;
const FEATURE_CHUNK_OFFSET = 1n;
const HELLO_MS = 5000;
const PING_EVERY_MS = 5000;
const PING_TIMEOUT_MS = 15000;
const GRANT_PARTS = 8; // a window is granted back in eighths, as the document has it

const defaultHello = {
  magic: 'datanode', oldest: VERSION, newest: VERSION, cell: '', node: '', incarnation: 0n, features: FEATURE_CHUNK_OFFSET,
  largestFrame: 1 << 20, window: 1 << 20, sessionWindow: 8 << 20, callsInFlight: 1,
};
const numbers = new Set(Object.values(sessions));

/** A mistake of the other side after which no byte of the connection can be trusted. */
class Poison extends Error {
  /** mismatch is one of the document's eight kinds, or empty for any other fault. */
  constructor(reason, mismatch = '') {
    super(reason);
    this.mismatch = mismatch;
  }
}

function must(ok, reason, mismatch) { if (!ok) throw new Poison(reason(), mismatch); }

export class Connection {
  /** Connects and greets. hello overrides fields of ours; expect names the node that it must be. */
  static async dial({ host = '127.0.0.1', port, hello = {}, expect = '' }) {
    const socket = net.connect({ host, port, noDelay: true });
    const conn = new Connection(socket, { ...defaultHello, ...hello }, expect);
    const timer = setTimeout(() => conn.#fail(`no greeting within ${HELLO_MS} ms`, codes.connection), HELLO_MS);
    try {
      await conn.#greeted;
    } finally {
      clearTimeout(timer);
    }
    conn.#pinger = setInterval(() => conn.#ping(), PING_EVERY_MS).unref();
    return conn;
  }

  /** The other side's hello. */
  peer = null;
  /** Why the connection ended, a DatanodeError; null while it is open. */
  failure = null;
  /** Whether it ended because the other side broke a rule, and the kind if it is a mismatch, as the document names it. */
  poisoned = false;
  mismatch = '';
  /** Whether the other side takes no new calls. */
  draining = false;

  #socket;
  #hello;
  #expect;
  #greeted;
  #resolveGreeted;
  #rejectGreeted;
  #maxFrame = MAX_HELLO_BYTES; // until both hellos are there
  #offsets = false;
  #calls = new Map(); // by ID, those without a final frame, abandoned ones too
  #lastID = 0n;
  #bySession = new Map(); // number -> { credit, used, owed }
  #parts = []; // received, not parsed
  #have = 0;
  #need = 4; // bytes that #parts must have before it is worth looking again
  #pingSent = 0n;
  #pingAnswered = 0n;
  #pinger;
  #pingTimer;

  constructor(socket, hello, expect) {
    this.#socket = socket;
    this.#hello = hello;
    this.#expect = expect;
    this.#greeted = new Promise((resolve, reject) => { this.#resolveGreeted = resolve; this.#rejectGreeted = reject; });
    this.#greeted.catch(() => {}); // whoever awaits it gets it
    socket.on('connect', () => {
      socket.write('D');
      socket.write(encodeFrame({ kind: kinds.hello, body: marshal(Hello, hello) }));
    });
    socket.on('data', (data) => this.#received(data));
    socket.on('drain', () => this.#wakeAll());
    socket.on('error', (e) => this.#fail(e.message, codes.connection));
    socket.on('close', () => this.#fail('closed by the other side', codes.connection));
  }

  /** How many raw bytes a chunk of the caller has at most. */
  get chunkBytes() {
    return Math.min(MAX_CHUNK_BYTES, this.#maxFrame - FRAME_OVERHEAD, Math.floor(Math.min(this.peer.window, this.peer.sessionWindow) / 2) - CHUNK_COST);
  }

  get inFlight() { return this.#calls.size; }

  /**
   * Starts a call. With send the caller's chunks follow; with receive it takes chunks. The call's final
   * frame is awaited with call.reply().
   */
  start(op, { session = sessions.control, body, raw, send = false, receive = false, deadlineMs = 0, index = 0n } = {}) {
    if (this.failure) throw new DatanodeError({ ...this.failure, op, outcome: outcomes.notDone });
    if (this.draining) throw new DatanodeError({ op, code: codes.unavailable, detail: `node ${this.peer.node} takes no new calls on this connection` });
    if (this.#calls.size >= this.peer.callsInFlight) throw new DatanodeError({ op, code: codes.exhausted, detail: `${this.#calls.size} calls are in flight already` });
    const frame = {
      kind: kinds.request, op, id: this.#lastID + 1n, session, flags: (send ? 0 : flagEnd) | (receive ? flagStream : 0),
      deadline: BigInt(Math.ceil(deadlineMs * 1000)), index, body, raw,
    };
    const bytes = encodeFrame(frame);
    if (bytes.length > this.#maxFrame) throw new DatanodeError({ op, code: codes.invalid, detail: `request of ${bytes.length} bytes, at most ${this.#maxFrame}` });
    const call = new Call(this, frame, { send, receive, credit: this.peer.window, deadlineMs });
    this.#lastID = frame.id;
    this.#calls.set(call.id, call);
    this.#socket.write(bytes);
    return call;
  }

  /** Closes the connection. Calls in flight fail. */
  close() { this.#fail('closed by this side', codes.connection); }

  // For Call: what it sends, and what its session may.

  async sendChunk(call, raw, flags) {
    const cost = raw.length > 0 ? raw.length + CHUNK_COST : 0;
    const session = this.#bySession.get(call.session);
    while (!call.ended && cost > 0 && (call.credit < cost || session.credit < cost)) await call.moved();
    if (call.ended) return false;
    call.credit -= cost;
    session.credit -= cost;
    const index = this.#offsets ? call.sent : 0n;
    call.sent += BigInt(raw.length);
    this.#socket.write(encodeFrame({ kind: kinds.chunk, ...call.name, flags, index, raw }));
    while (!call.ended && this.#socket.writableNeedDrain) await call.moved();
    return true;
  }

  sendCancel(call) { if (!this.failure) this.#socket.write(encodeFrame({ kind: kinds.cancel, ...call.name })); }

  /** Takes note that cost bytes of chunks are consumed, and grants them back in larger parts. */
  consumed(call, cost) {
    if (this.failure) return;
    const session = this.#bySession.get(call.session);
    this.#grant(session, cost, this.#hello.sessionWindow, { session: call.session });
    if (!call.ended && !call.received.ended) this.#grant(call.received, cost, this.#hello.window, call.name);
  }

  #grant(account, cost, window, name) {
    account.owed += cost;
    if (account.owed * GRANT_PARTS < window) return;
    this.#socket.write(encodeFrame({ kind: kinds.credit, ...name, body: uint(account.owed) }));
    account.used -= account.owed;
    account.owed = 0;
  }

  // Receiving.

  #received(data) {
    this.#parts.push(data);
    this.#have += data.length;
    try {
      while (!this.failure && this.#have >= this.#need) this.#parseSome();
    } catch (e) {
      this.poisoned = true;
      this.mismatch = e.mismatch ?? '';
      this.#fail(`poisoned: ${e.message}`, Number.isInteger(e.code) ? e.code : codes.connection);
    }
  }

  #parseSome() {
    let buf = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    while (!this.failure && buf.length >= (this.#need = 4)) {
      this.#need = frameSize(buf, this.#maxFrame);
      if (buf.length < this.#need) break;
      const frame = parseFrame(buf.subarray(0, this.#need));
      buf = buf.subarray(this.#need);
      this.#onFrame(frame);
    }
    this.#parts = [buf];
    this.#have = buf.length;
  }

  #onFrame(f) {
    if (!this.peer) return this.#onHello(f);
    switch (f.kind) {
      case kinds.response: case kinds.error: return this.#onFinal(f);
      case kinds.chunk: return this.#onChunk(f);
      case kinds.credit: return this.#onCredit(f);
      case kinds.ping: return this.#socket.write(encodeFrame({ kind: kinds.pong, id: f.id }));
      case kinds.pong: return this.#onPong(f);
      case kinds.goaway: this.draining = true; return undefined;
      default: throw new Poison(`frame of kind ${f.kind}, which the accepting side does not send`, 'direction');
    }
  }

  #onHello(f) {
    must(f.kind === kinds.hello, () => `frame of kind ${f.kind} before a hello`);
    const theirs = unmarshal(Hello, f.body);
    const mine = this.#hello;
    const refuse = (code, detail) => { throw Object.assign(new Error(detail), { code }); };
    if (theirs.magic !== mine.magic) refuse(codes.protocol, `hello with magic ${JSON.stringify(theirs.magic)}`);
    if (theirs.largestFrame < 65536 || theirs.window < 4096 || theirs.sessionWindow < 4096 || theirs.callsInFlight < 1) refuse(codes.protocol, 'hello with a limit that is too small');
    if (Math.min(mine.newest, theirs.newest) < Math.max(mine.oldest, theirs.oldest)) {
      refuse(codes.protocol, `no common version: the other side speaks ${theirs.oldest} to ${theirs.newest}, this side ${mine.oldest} to ${mine.newest}`);
    }
    if (mine.cell && theirs.cell && mine.cell !== theirs.cell) refuse(codes['wrong-cell'], `the node is of cell ${theirs.cell}, this side of ${mine.cell}`);
    if (this.#expect && this.#expect !== theirs.node) refuse(codes['wrong-cell'], `the node is ${theirs.node}, want ${this.#expect}`);
    this.#maxFrame = Math.min(mine.largestFrame, theirs.largestFrame);
    this.#offsets = (mine.features & theirs.features & FEATURE_CHUNK_OFFSET) !== 0n;
    for (const number of numbers) this.#bySession.set(number, { credit: theirs.sessionWindow, used: 0, owed: 0 });
    this.peer = theirs;
    this.#resolveGreeted();
  }

  /** The call in flight that the frame names by its ID, its operation and its session. */
  #match(f) {
    const call = this.#calls.get(f.id);
    must(call || f.id <= this.#lastID, () => `kind ${f.kind} for call ${f.id}, which was never started`, 'unknown-call');
    must(call, () => `kind ${f.kind} for call ${f.id}, which has ended`, 'ended-call');
    const says = () => `kind ${f.kind} for call ${f.id} says operation ${f.op} in session ${f.session}, it is ${call.op} in ${call.session}`;
    must(call.op === f.op, says, 'operation');
    must(call.session === f.session, says, 'session');
    return call;
  }

  #onFinal(f) {
    const call = this.#match(f);
    const error = f.kind === kinds.error ? new DatanodeError(unmarshal(ErrorBody, f.body)) : null;
    this.#calls.delete(f.id);
    call.finish(error, { body: Buffer.from(f.body), raw: Buffer.from(f.raw), fence: f.fence, index: f.index });
  }

  #onChunk(f) {
    const call = this.#match(f);
    const last = (f.flags & flagEnd) !== 0;
    must(f.body.length === 0, () => 'chunk with a body');
    must(f.raw.length > 0 || last, () => 'chunk without bytes, which only the last may be');
    must(f.raw.length <= MAX_CHUNK_BYTES, () => `chunk of ${f.raw.length} bytes`);
    const cost = f.raw.length > 0 ? f.raw.length + CHUNK_COST : 0;
    const session = this.#bySession.get(f.session);
    const r = call.received;
    must(!r.ended, () => `chunk for call ${f.id}, which takes none or has had the last`, 'chunk');
    must(!this.#offsets || f.index === r.bytes, () => `chunk for call ${f.id} begins at byte ${f.index}, want ${r.bytes}`, 'chunk');
    must((session.used += cost) <= this.#hello.sessionWindow, () => `chunk exceeds the window of session ${f.session}`);
    must((r.used += cost) <= this.#hello.window, () => `chunk exceeds the window of call ${f.id}`);
    r.bytes += BigInt(f.raw.length);
    r.ended = last;
    if (!call.takeChunk(f.raw)) this.consumed(call, cost); // the caller has given up: dropped
  }

  #onCredit(f) {
    const { value, next } = parseUint(f.body, 0);
    must(next === f.body.length, () => 'credit with more than one unsigned integer');
    const ofSession = f.id === 0n;
    const account = ofSession ? this.#bySession.get(f.session) : this.#match(f);
    const window = ofSession ? this.peer.sessionWindow : this.peer.window;
    must(value <= BigInt(window - account.credit), () => `credit of ${value}, of which only ${window - account.credit} was used`);
    account.credit += Number(value);
    this.#wakeAll();
  }

  #wakeAll() { for (const call of this.#calls.values()) call.wake(); }

  #ping() {
    if (this.#pingAnswered !== this.#pingSent) return; // one at a time
    this.#socket.write(encodeFrame({ kind: kinds.ping, id: ++this.#pingSent }));
    this.#pingTimer = setTimeout(() => this.#fail(`no answer to a ping within ${PING_TIMEOUT_MS} ms`, codes.connection), PING_TIMEOUT_MS).unref();
  }

  #onPong(f) {
    must(this.#pingAnswered < this.#pingSent && f.id === this.#pingSent, () => `pong ${f.id} without its ping`, 'pong');
    this.#pingAnswered = f.id;
    clearTimeout(this.#pingTimer);
  }

  #fail(detail, code) {
    if (this.failure) return;
    this.failure = new DatanodeError({ code, outcome: outcomes.notDone, detail });
    clearInterval(this.#pinger);
    clearTimeout(this.#pingTimer);
    this.#socket.destroy(); // unread bytes go with it
    this.#parts = [];
    this.#rejectGreeted(this.failure);
    for (const call of this.#calls.values()) {
      call.finish(new DatanodeError({ op: call.op, code: codes.connection, outcome: outcomes.unknown, detail }));
    }
    this.#calls.clear();
  }
}
