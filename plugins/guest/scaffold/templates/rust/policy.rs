//! my-policy: extents of the class "urgent" go first, and a delete ends the work on what it deletes.
//!
//! Where to go on: give it the rules that you need in score and conflict, a line in policy! for each of
//! them, and a case in cases/ for each line. Then: datanode policy test
#![no_std]

mod datanode_policy;
use datanode_policy::*;

// Reasons are what people read in datanode op explain. Another version for each policy that you load, so
// that decisions can be told apart.
policy!(
    r#"{"name":"my-policy","version":"1","reasons":["unspecified",
"its class is urgent",
"redundancy is lost",
"can wait",
"a delete ends the work on what it deletes",
"it is being deleted",
"asked for twice",
"the node stays",
"one after the other"]}"#,
    score,
    conflict
);

// The order is that of the lines above.
const URGENT: u16 = 1;
const REDUNDANCY_LOST: u16 = 2;
const CAN_WAIT: u16 = 3;
const DELETE_WINS: u16 = 4;
const BEING_DELETED: u16 = 5;
const ASKED_TWICE: u16 = 6;
const NODE_STAYS: u16 = 7;
const IN_LINE: u16 = 8;

const URGENT_CLASS: i32 = 10_000;
const PER_MISSING_COPY: i32 = 1_000;
const PER_MINUTE_WAITED: i32 = 10;
const LONGEST_WAIT: i64 = 1_200; // minutes; then it is worth more than being urgent, and nothing waits for ever

/// How urgent an operation is: the highest priority starts first. Facts lists all that there is to go by:
/// its kind, who asked for it, copies, bytes, how long it has waited. Answer from the facts alone (and a
/// configuration, if you want one): no variables that change. A node tries that before it accepts a policy.
fn score(f: &Facts) -> Score {
    let waited = (f.waiting_micros / 60_000_000).clamp(0, LONGEST_WAIT) as i32 * PER_MINUTE_WAITED;
    let missing = f.want_replicas.saturating_sub(f.live_replicas).min(9) as i32;
    if f.class_tag() == b"urgent" {
        Score::new(URGENT_CLASS + waited, URGENT)
    } else if f.kind == Kind::REPAIR && f.live_replicas > 0 && missing > 0 {
        Score::new(missing * PER_MISSING_COPY + waited, REDUNDANCY_LOST)
    } else {
        Score::new(waited, CAN_WAIT)
    }
}

/// Who yields when an operation arrives for an extent or a node that another one is already there for. A
/// verdict that could lose data is overruled by the cell.
fn conflict(existing: &Facts, incoming: &Facts, same_node: bool) -> Resolution {
    match (existing.kind, incoming.kind) {
        (Kind::DELETE, comes) if comes != Kind::DELETE => Resolution::new(Verdict::REJECT, BEING_DELETED),
        (Kind::CREATE, _) => Resolution::new(Verdict::WAIT, IN_LINE),
        (have, Kind::DELETE) if have != Kind::DELETE => Resolution::new(Verdict::SUPERSEDE, DELETE_WINS),
        (Kind::DECOMMISSION, Kind::RECOMMISSION) => Resolution::new(Verdict::SUPERSEDE, NODE_STAYS),
        (Kind::MOVE, Kind::MOVE) if !same_node => Resolution::new(Verdict::WAIT, IN_LINE),
        (have, comes) if have == comes && have != Kind::PUNCH => Resolution::new(Verdict::MERGE, ASKED_TWICE),
        _ => Resolution::new(Verdict::WAIT, IN_LINE),
    }
}
