// Errors as they cross the wire ("Errors" of docs/wire.md).
export const codes = {
  internal: 1, invalid: 2, 'not-found': 3, conflict: 4, precondition: 5, envelope: 6, unavailable: 7, corrupt: 8, 'stale-fence': 9,
  'not-running': 10, cancelled: 11, deadline: 12, connection: 13, protocol: 14, 'no-space': 15, 'session-expired': 16,
  'wrong-cell': 17, exhausted: 18, 'disk-failed': 19,
};
export const outcomes = { notDone: 1, done: 2, unknown: 3 };

const nameOf = (table, n) => Object.keys(table).find((name) => table[name] === n) ?? String(n);

/** A failure with its code and what is known of the work. A retry is safe only if the outcome is notDone. */
export class DatanodeError extends Error {
  constructor({ op = 0, code, outcome = outcomes.notDone, node = '', detail = '' }) {
    super(`${nameOf(codes, code)}: ${detail}${node && ` (on ${node})`}`);
    Object.assign(this, { name: 'DatanodeError', op, code, outcome, node, detail });
  }

  get codeName() { return nameOf(codes, this.code); }
}
