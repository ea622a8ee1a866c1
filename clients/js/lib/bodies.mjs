// The structs of docs/wire.md, field by field.
const struct = (name, fields) => ({ name, fields: Object.entries(fields) });

export const Hello = struct('Hello', {
  magic: 'text', oldest: 'u16', newest: 'u16', cell: 'text', node: 'text', incarnation: 'u64', features: 'u64',
  largestFrame: 'u32', window: 'u32', sessionWindow: 'u32', callsInFlight: 'u32',
});
export const ErrorBody = struct('Error', { op: 'u16', code: 'u16', outcome: 'u8', node: 'text', detail: 'text' });

export const ops = {
  put: 1, read: 2, append: 3, session: 10, submit: 11, cancel: 12, ops: 13, 'show-op': 14, extents: 15, nodes: 16, status: 17, wait: 19,
};

export const Locator = struct('Locator', { extent: 'u64', offset: 'u64', length: 'u64', birth: 'u32', disks: 'u8', want: 'u8' });
export const PutRequest = struct('PutRequest', { class: 'text', length: 'i64', extent: 'u64', whole: 'bool' });
export const ReadRequest = struct('ReadRequest', { locator: Locator, whole: 'bool', node: 'text', inline: 'u32' });
export const ReadReply = struct('ReadReply', { length: 'u64', node: 'text', sum: 'u32', summed: 'bool' });

export const SessionRequest = struct('SessionRequest', { client: 'text' });
export const SessionReply = struct('SessionReply', { session: 'u64' });
export const Submission = struct('Submission', {
  seq: 'u64', kind: 'text', extent: 'u64', node: 'text', target: 'text', class: 'text', want: 'u8', replicas: ['text'], primary: 'text', avoid: ['text'],
  urgent: 'bool', owner: 'text', graceMicros: 'u64', noGrace: 'bool',
});
export const SubmitRequest = struct('SubmitRequest', { session: 'u64', submit: [Submission], dryRun: 'bool', force: 'bool', cell: 'bool' });
export const Submitted = struct('Submitted', { op: 'text', extent: 'u64', merged: 'bool', plan: 'text', code: 'u16', detail: 'text', kind: 'text' });
export const SubmitReply = struct('SubmitReply', { results: [Submitted] });
export const WaitRequest = struct('WaitRequest', { ops: ['text'], patience: 'i64' });

export const Fact = struct('Fact', { name: 'text', value: 'text' });
export const Conflict = struct('Conflict', { with: 'text', kind: 'text', asked: 'text', verdict: 'text', overruled: 'bool', reason: 'text' });
export const Decision = struct('Decision', {
  policy: 'text', digest: 'text', epoch: 'u64', priority: 'i32', reason: 'text', cost: 'u64', fallback: 'text', facts: [Fact], conflicts: [Conflict],
});
export const Step = struct('Step', { index: 'u64', time: 'i64', state: 'text', note: 'text' });
export const Op = struct('Op', {
  id: 'text', kind: 'text', state: 'text', extent: 'u64', node: 'text', origin: 'text', parent: 'text', fence: 'u64',
  source: 'text', target: 'text', attempts: 'i64', waits: ['text'], blocked: 'text', by: 'text', detail: 'text',
  admitted: 'i64', started: 'i64', ended: 'i64', decision: Decision, steps: [Step],
});
export const OpsReply = struct('OpsReply', { ops: [Op], more: 'bool' });

export const ExtentsRequest = struct('ExtentsRequest', { from: 'u64', one: 'bool', limit: 'i64', node: 'text' });
export const Replica = struct('Replica', { node: 'text', state: 'text', nodeState: 'text' });
export const Range = struct('Range', { from: 'u64', to: 'u64' });
export const Extent = struct('Extent', {
  id: 'u64', state: 'text', class: 'text', want: 'i64', live: 'i64', length: 'u64', sum: 'text', replicas: [Replica],
  dropping: ['text'], ops: ['text'], generation: 'u64', epoch: 'u64', created: 'i64', birth: 'text', damaged: [Range],
  punched: 'u64', holes: 'u32', keptUntil: 'i64',
});
export const ExtentsReply = struct('ExtentsReply', { extents: [Extent], next: 'u64' });

export const Status = struct('Status', {
  cell: 'text', node: 'text', leader: 'text', term: 'u64', applied: 'u64', committed: 'u64', chain: 'text', ready: 'bool',
  extents: 'i64', replicas: 'i64', nodes: 'i64', up: 'i64', queued: 'i64', running: 'i64', dropping: 'i64', lacking: 'i64',
  policy: 'text', digest: 'text', policyEpoch: 'u64', version: 'text',
});

const plainNumber = /^(0|[1-9][0-9]*)$/;

/** Reads EXTENT:OFFSET+LENGTH@BIRTH, in the one spelling that it has, or without @BIRTH. */
export function parseLocator(text) {
  const parts = /^([0-9]+):([0-9]+)\+([0-9]+)(?:@([0-9a-f]{8}))?$/.exec(text);
  if (!parts || !parts.slice(1, 4).every((p) => plainNumber.test(p)) || parts[1] === '0' || parts[4] === '00000000') {
    throw new Error(`${JSON.stringify(text)} is not a locator; a locator looks like 12:4096+512@3f2a91c0`);
  }
  const [extent, offset, length] = parts.slice(1, 4).map(BigInt);
  return { extent, offset, length, birth: Number.parseInt(parts[4] ?? '0', 16) };
}

const birthText = (birth) => (birth ? `@${birth.toString(16).padStart(8, '0')}` : '');

export const formatLocator = ({ extent, offset, length, birth }) => `${extent}:${offset}+${length}${birthText(birth)}`;
