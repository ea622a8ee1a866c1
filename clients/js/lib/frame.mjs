// Frames: bytes in, values out ("Frame" of docs/wire.md).
//
//	| length u32 | header | body | raw | CRC u32 |

export const kinds = { hello: 1, request: 2, response: 3, chunk: 4, credit: 5, cancel: 6, error: 7, ping: 8, pong: 9, goaway: 10 };
export const sessions = { client: 1, append: 2, repair: 3, delete: 4, control: 5 };
export const flagEnd = 1; // this side sends no further chunk
export const flagStream = 2; // in a request: the caller takes chunks

export const MAX_HELLO_BYTES = 4096;
export const MAX_CHUNK_BYTES = 262144;
export const FRAME_OVERHEAD = 59; // at most, besides body and raw
export const CHUNK_COST = 256; // of credit, besides its raw bytes
const MIN_FRAME_BYTES = 18;
const MAX_FRAME_BYTES = 0x7fff_ffff;

// The header's elements: name, largest value. 64-bit ones are BigInt.
const elements = [
  ['kind', 0xff], ['op', 0xffff], ['id', null], ['session', 0xff], ['flags', 0xff],
  ['deadline', null], ['fence', null], ['index', null], ['bodyLength', 0xffff_ffff],
];

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1;
  return n >>> 0;
});

/** CRC32C (Castagnoli) of bytes. */
export function crc32c(bytes) {
  let crc = 0xffff_ffff;
  for (let i = 0; i < bytes.length; i++) crc = crcTable[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffff_ffff) >>> 0;
}

/** An unsigned integer as msgpack has it, in its shortest form. */
export function uint(value) {
  const n = BigInt(value);
  if (n < 0n || n > 0xffff_ffff_ffff_ffffn) throw new RangeError(`${n} is not an unsigned integer of 64 bits`);
  if (n < 0x80n) return Buffer.from([Number(n)]);
  const [code, width] = n <= 0xffn ? [0xcc, 1] : n <= 0xffffn ? [0xcd, 2] : n <= 0xffff_ffffn ? [0xce, 4] : [0xcf, 8];
  const out = Buffer.alloc(1 + width, code);
  if (width === 8) out.writeBigUInt64BE(n, 1);
  else out.writeUIntBE(Number(n), 1, width);
  return out;
}

/** Reads an unsigned integer of any width at `at`: its value as a BigInt, and where it ends. */
export function parseUint(buf, at) {
  const code = buf[at];
  if (code < 0x80) return { value: BigInt(code), next: at + 1 };
  const width = { 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8 }[code];
  if (!width || at + 1 + width > buf.length) throw new Error('want an unsigned integer');
  const value = width === 8 ? buf.readBigUInt64BE(at + 1) : BigInt(buf.readUIntBE(at + 1, width));
  return { value, next: at + 1 + width };
}

/** Encodes a frame; elements of the header that are absent are 0. */
export function encodeFrame({ body = Buffer.alloc(0), raw = Buffer.alloc(0), ...header }) {
  const parts = elements.map(([name]) => uint(name === 'bodyLength' ? body.length : header[name] ?? 0));
  const frame = Buffer.concat([Buffer.alloc(4), Buffer.from([0x90 | elements.length]), ...parts, body, raw, Buffer.alloc(4)]);
  frame.writeUInt32LE(frame.length - 4, 0);
  frame.writeUInt32LE(crc32c(frame.subarray(0, frame.length - 4)), frame.length - 4);
  return frame;
}

/** How many bytes the frame has whose first four are these. Throws before any room is made for it. */
export function frameSize(head, maxBytes = MAX_FRAME_BYTES) {
  const size = 4 + head.readUInt32LE(0);
  if (size < MIN_FRAME_BYTES || size > maxBytes) throw new Error(`frame of ${size} bytes: want ${MIN_FRAME_BYTES} to ${maxBytes}`);
  return size;
}

/** Decodes one whole frame. Body and raw share its memory. */
export function parseFrame(buf) {
  const size = frameSize(buf);
  if (size !== buf.length) throw new Error(`frame of ${size} bytes, of which only ${buf.length} are there`);
  const end = size - 4;
  const crc = buf.readUInt32LE(end);
  const want = crc32c(buf.subarray(0, end));
  const hex = (n) => n.toString(16).padStart(8, '0');
  if (crc !== want) throw new Error(`frame of ${size} bytes: CRC is ${hex(crc)}, want ${hex(want)} as its bytes have`);
  const { header, next } = parseHeader(buf.subarray(0, end), 4);
  const { bodyLength, ...rest } = header;
  if (bodyLength > end - next) throw new Error(`body of ${bodyLength} bytes, of which only ${end - next} are there`);
  return { ...rest, body: buf.subarray(next, next + bodyLength), raw: buf.subarray(next + bodyLength, end) };
}

function parseHeader(buf, at) {
  const count = buf[at] & 0x0f;
  if ((buf[at] & 0xf0) !== 0x90 || count < elements.length) throw new Error('header: want an array of 9 to 15 elements');
  const header = {};
  let next = at + 1;
  for (let i = 0; i < count; i++) {
    const got = parseUint(buf, next);
    next = got.next;
    if (i >= elements.length) continue; // of a later version
    const [name, largest] = elements[i];
    if (largest !== null && got.value > BigInt(largest)) throw new Error(`header: ${name} is ${got.value}, at most ${largest} fits`);
    header[name] = largest === null ? got.value : Number(got.value);
  }
  checkHeader(header);
  return { header, next };
}

function checkHeader({ kind, op, id, session }) {
  if (kind < kinds.hello || kind > kinds.goaway) throw new Error(`header: unknown kind ${kind}`);
  if (kind < kinds.request || kind > kinds.error) return; // of no call
  if (session < sessions.client || session > sessions.control) throw new Error(`header: unknown session ${session}`);
  if (kind === kinds.credit && id === 0n && op === 0) return; // for the whole session
  if (id === 0n || op === 0) throw new Error(`header: kind ${kind} with ID ${id} and operation ${op}, want both above zero`);
}
