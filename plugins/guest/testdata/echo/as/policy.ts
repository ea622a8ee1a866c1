// Tells the host every fact that it sees. The tests of the bindings hold it against golden.txt.
import { Facts, Score, Resolution, scored, resolved, counterAdd, logBytes, register } from "./datanode_policy";
export { policy_abi_v1, policy_alloc, policy_describe, policy_score, policy_conflict } from "./datanode_policy";

register('{"name":"echo","version":"1","reasons":["unspecified"]}',
  (f: Facts): Score => {
    tell(f);
    return scored(i32(f.waitingMicros), u16(f.opPlace));
  },
  (existing: Facts, incoming: Facts, sameNode: bool): Resolution => {
    counterAdd("same_node", i64(sameNode));
    tell(existing);
    tell(incoming);
    return resolved(incoming.kind, u16(existing.opPlace));
  });

function tell(f: Facts): void {
  counterAdd("op_index", f.opIndex);
  counterAdd("extent", f.extent);
  counterAdd("length_bytes", f.lengthBytes);
  counterAdd("now_micros", f.nowMicros);
  counterAdd("waiting_micros", f.waitingMicros);
  counterAdd("op_place", f.opPlace);
  counterAdd("queued_ops", f.queuedOps);
  counterAdd("running_ops", f.runningOps);
  counterAdd("running_same", f.runningSame);
  counterAdd("kind", f.kind);
  counterAdd("phase", f.phase);
  counterAdd("origin", f.origin);
  counterAdd("attempts", f.attempts);
  counterAdd("extent_open", f.extentOpen);
  counterAdd("live_replicas", f.liveReplicas);
  counterAdd("want_replicas", f.wantReplicas);
  logBytes(f.classAt, 16);
}
