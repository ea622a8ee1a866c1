// gold-class-first: extents with the class "gold" are served before all others, and a delete waits for
// a repair that already runs. The class can be configured as "class".
import { ClassTag, Facts, Kind, Origin, Phase, Resolution, Score, Verdict, configGet, register, resolved, scored } from "./datanode_policy";
export { policy_abi_v1, policy_alloc, policy_describe, policy_score, policy_conflict } from "./datanode_policy";

namespace Reason {
  export const Preferred: u16 = 1;
  export const Repair: u16 = 2;
  export const Answer: u16 = 3;
  export const Delete: u16 = 4;
  export const Rest: u16 = 5;

  export const RepairEnds: u16 = 6;
  export const DeleteWins: u16 = 7;
  export const Deleted: u16 = 8;
  export const Same: u16 = 9;
  export const InLine: u16 = 10;
  export const PreferredRepair: u16 = 11;
}

// The class that goes first. It is read once: a configuration never changes while an instance lives.
const preferred = new ClassTag(configGet("class", "gold"));

// Ranks. Everything of the preferred class goes before everything else, and keeps its rank within.
const preferredBonus: i32 = 1_000_000;
const rankAnswer: i32 = 40_000;
const rankRepair: i32 = 30_000;
const rankDelete: i32 = 20_000;
const perMissingCopy: i32 = 1000;
const longestWait: i64 = 500; // seconds, one point each
const perAttempt: i32 = 2;

register(`{"name":"gold-class-first","version":"1","reasons":["unspecified",
"its class is preferred",
"redundancy is lost",
"somebody waits for the answer",
"a client asked to delete",
"can wait",
"a delete waits for a repair that runs",
"a delete ends all but a running repair",
"it is being deleted",
"asked for twice",
"one after the other",
"a preferred repair does not wait for a move"],
"config":{"type":"object","properties":{"class":{"type":"string","maxLength":16}}}}`, score, conflict);

function score(f: Facts): Score {
  let priority: i32 = 0;
  let reason = Reason.Rest;
  if (f.kind == Kind.Create || f.kind == Kind.Seal || f.kind == Kind.Decommission || f.kind == Kind.Recommission) {
    priority = rankAnswer;
    reason = Reason.Answer;
  } else if (f.kind == Kind.Repair && f.missingReplicas > 0 && f.liveReplicas > 0) {
    priority = rankRepair + min(f.missingReplicas, 9) * perMissingCopy;
    reason = Reason.Repair;
  } else if (f.kind == Kind.Delete && f.origin == Origin.User) {
    priority = rankDelete;
    reason = Reason.Delete;
  }
  priority += i32(min(max(f.waitingMicros, 0) / 1_000_000, longestWait)) - i32(f.attempts) * perAttempt;
  return f.hasClass(preferred) ? scored(priority + preferredBonus, Reason.Preferred) : scored(priority, reason);
}

function conflict(existing: Facts, incoming: Facts, sameNode: bool): Resolution {
  const have = existing.kind;
  const comes = incoming.kind;
  if (have == Kind.Delete) {
    return comes == Kind.Delete ? resolved(Verdict.Merge, Reason.Same) : resolved(Verdict.Reject, Reason.Deleted);
  }
  if (have == Kind.Create) return resolved(Verdict.Wait, Reason.InLine);
  if (comes == Kind.Delete) {
    const copying = have == Kind.Repair && existing.phase == Phase.Running;
    return copying ? resolved(Verdict.Wait, Reason.RepairEnds) : resolved(Verdict.Supersede, Reason.DeleteWins);
  }
  if (have == comes && have != Kind.Punch && (have != Kind.Move || sameNode)) return resolved(Verdict.Merge, Reason.Same);
  if (have == Kind.Move && comes == Kind.Repair && incoming.hasClass(preferred)) {
    return resolved(Verdict.Supersede, Reason.PreferredRepair);
  }
  if (have == Kind.Decommission && comes == Kind.Recommission) return resolved(Verdict.Supersede, Reason.InLine);
  return resolved(Verdict.Wait, Reason.InLine);
}
