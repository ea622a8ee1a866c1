// my-policy: extents of the class "urgent" go first, and a delete ends the work on what it deletes.
//
// Where to go on: give it the rules that you need in score and conflict, a line in register for each of
// them, and a case in cases/ for each line. Then: datanode policy test
import { ClassTag, Facts, Kind, Resolution, Score, Verdict, register, resolved, scored } from "./datanode_policy";
export { policy_abi_v1, policy_alloc, policy_describe, policy_score, policy_conflict } from "./datanode_policy";

// Reasons are what people read in datanode op explain. Their order is that of the lines in register below.
namespace Reason {
  export const Urgent: u16 = 1;
  export const RedundancyLost: u16 = 2;
  export const CanWait: u16 = 3;

  export const DeleteWins: u16 = 4;
  export const BeingDeleted: u16 = 5;
  export const AskedTwice: u16 = 6;
  export const NodeStays: u16 = 7;
  export const InLine: u16 = 8;
}

const urgent = new ClassTag("urgent");

const urgentClass: i32 = 10_000;
const perMissingCopy: i32 = 1_000;
const perMinuteWaited: i32 = 10;
const longestWait: i64 = 1_200; // minutes; then it is worth more than being urgent, and nothing waits for ever

// Another version for each policy that you load, so that decisions can be told apart.
register(`{"name":"my-policy","version":"1","reasons":["unspecified",
"its class is urgent",
"redundancy is lost",
"can wait",
"a delete ends the work on what it deletes",
"it is being deleted",
"asked for twice",
"the node stays",
"one after the other"]}`, score, conflict);

// How urgent an operation is: the highest priority starts first. Facts lists all that there is to go by: its
// kind, who asked for it, copies, bytes, how long it has waited. Answer from the facts alone (and configGet, if
// you want one): no variables that change. A node tries that before it accepts a policy.
function score(f: Facts): Score {
  const waited = i32(min(max(f.waitingMicros, 0) / 60_000_000, longestWait)) * perMinuteWaited;
  if (f.hasClass(urgent)) return scored(urgentClass + waited, Reason.Urgent);
  if (f.kind == Kind.Repair && f.liveReplicas > 0 && f.missingReplicas > 0) {
    return scored(min(i32(f.missingReplicas), 9) * perMissingCopy + waited, Reason.RedundancyLost);
  }
  return scored(waited, Reason.CanWait);
}

// Who yields when an operation arrives for an extent or a node that another one is already there for. A verdict
// that could lose data is overruled by the cell.
function conflict(existing: Facts, incoming: Facts, sameNode: bool): Resolution {
  const have = existing.kind;
  const comes = incoming.kind;
  if (have == Kind.Delete && comes != have) return resolved(Verdict.Reject, Reason.BeingDeleted);
  if (have == Kind.Create) return resolved(Verdict.Wait, Reason.InLine);
  if (comes == Kind.Delete && comes != have) return resolved(Verdict.Supersede, Reason.DeleteWins);
  if (have == Kind.Decommission && comes == Kind.Recommission) return resolved(Verdict.Supersede, Reason.NodeStays);
  if (have == comes && have != Kind.Punch && (have != Kind.Move || sameNode)) return resolved(Verdict.Merge, Reason.AskedTwice);
  return resolved(Verdict.Wait, Reason.InLine);
}
