// Bodies: msgpack arrays of fields, checked before and while they are decoded ("Bodies" of
// docs/wire.md). A struct is described by its fields, as in the document's tables:
//
//	{ name: 'Locator', fields: [['extent', 'u64'], ['offset', 'u64'], ['length', 'u64']] }
//
// Integers of 64 bits are BigInt in JavaScript, smaller ones are numbers.
import { decode, encode } from '@msgpack/msgpack';

const MAX_DEPTH = 16;

const ranges = {
  u8: [0n, 0xffn], u16: [0n, 0xffffn], u32: [0n, 0xffff_ffffn], u64: [0n, 0xffff_ffff_ffff_ffffn],
  i32: [-0x8000_0000n, 0x7fff_ffffn], i64: [-0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn],
};
const wide = (type) => type === 'u64' || type === 'i64';

/** Encodes value, an object of the struct's fields. Absent fields are zero. */
export function marshal(struct, value) {
  return Buffer.from(encode(toWire(struct, value, struct.name), { useBigInt64: true }));
}

/** Decodes exactly one struct. Elements beyond its fields are skipped, missing ones are zero. */
export function unmarshal(struct, bytes) {
  scan(bytes);
  return fromWire(struct, decode(bytes, { useBigInt64: true }), struct.name);
}

function toWire(type, v, where) {
  if (Array.isArray(type)) return (v ?? []).map((x, i) => toWire(type[0], x, `${where}[${i}]`));
  if (typeof type === 'object') return type.fields.map(([name, t]) => toWire(t, v?.[name], `${where}.${name}`));
  if (type === 'text') return String(v ?? '');
  if (type === 'bool') return Boolean(v);
  const n = checkRange(type, BigInt(v ?? 0), where);
  // The library writes numbers shortest, but none above 32 bits, and BigInts always in 64.
  return n >= -0x8000_0000n && n <= 0xffff_ffffn ? Number(n) : n;
}

function fromWire(type, v, where) {
  if (Array.isArray(type) || typeof type === 'object') {
    const list = v ?? []; // nil is an empty one
    if (!Array.isArray(list)) throw new Error(`${where} is a ${typeof v}, want an array`);
    if (Array.isArray(type)) return list.map((x, i) => fromWire(type[0], x, `${where}[${i}]`));
    return Object.fromEntries(type.fields.map(([name, t], i) => [name, i < list.length ? fromWire(t, list[i], `${where}.${name}`) : zero(t)]));
  }
  const got = typeof v;
  if (type === 'text' || type === 'bool') {
    if (got !== (type === 'text' ? 'string' : 'boolean')) throw new Error(`${where} is a ${got}, want ${type}`);
    return v;
  }
  if (got !== 'bigint' && !Number.isInteger(v)) throw new Error(`${where} is a ${got}, want an integer`);
  const n = checkRange(type, BigInt(v), where);
  return wide(type) ? n : Number(n);
}

function zero(type) {
  if (Array.isArray(type)) return [];
  if (typeof type === 'object') return fromWire(type, [], type.name);
  if (type === 'text') return '';
  if (type === 'bool') return false;
  return wide(type) ? 0n : 0;
}

function checkRange(type, n, where) {
  const [low, high] = ranges[type];
  if (n < low || n > high) throw new Error(`${where} is ${n}, which does not fit ${type}`);
  return n;
}

/** Throws unless bytes are one value, not nested too deep, and no count or length exceeds what is there. */
export function scan(bytes) {
  const pending = [1]; // values still to come at each depth
  let at = 0;
  for (;;) {
    while (pending.at(-1) === 0) {
      if (pending.length === 1) {
        if (at !== bytes.length) throw new Error(`msgpack: ${bytes.length - at} bytes after the value`);
        return;
      }
      pending.pop();
    }
    pending[pending.length - 1]--;
    const { size, children } = one(bytes, at);
    at += size;
    if (children > bytes.length - at) throw new Error(`msgpack: ${children} elements declared, ${bytes.length - at} bytes remain`);
    if (children === 0) continue;
    if (pending.length > MAX_DEPTH) throw new Error(`msgpack: nested deeper than ${MAX_DEPTH}`);
    pending.push(children);
  }
}

// Widths of what follows a code of a scalar: 0xca float 32 ... 0xd3 int 64.
const scalarBytes = { 0xca: 4, 0xcb: 8, 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8 };
// Widths of the length of strings and binaries, and of the count of arrays and maps.
const lengthBytes = { 0xc4: 1, 0xc5: 2, 0xc6: 4, 0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4 };

/** Says how many bytes the value's own part at `at` has, and how many values follow as its elements. */
function one(b, at) {
  const need = (n) => {
    if (n > b.length - at) throw new Error('msgpack: ends in the middle of a value');
    return n;
  };
  need(1);
  const code = b[at];
  if (code < 0x80 || code >= 0xe0 || code === 0xc0 || code === 0xc2 || code === 0xc3) return { size: 1, children: 0 };
  if (code < 0x90) return { size: 1, children: 2 * (code & 0x0f) };
  if (code < 0xa0) return { size: 1, children: code & 0x0f };
  if (code < 0xc0) return { size: need(1 + (code & 0x1f)), children: 0 };
  if (scalarBytes[code]) return { size: need(1 + scalarBytes[code]), children: 0 };
  const width = lengthBytes[code];
  if (!width) throw new Error(`msgpack: code 0x${code.toString(16)} is not allowed`);
  need(1 + width);
  const n = Buffer.from(b.buffer, b.byteOffset, b.byteLength).readUIntBE(at + 1, width);
  if (code >= 0xdc) return { size: 1 + width, children: code >= 0xde ? 2 * n : n };
  return { size: need(1 + width + n), children: 0 };
}
