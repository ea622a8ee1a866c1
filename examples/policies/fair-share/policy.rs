//! fair-share: bulk work is started in the order of a lottery in which every operation has one ticket,
//! or as many as its class has shares. A thousand repairs that one class needs then no longer stand
//! before the ten of another that came a moment later: these are spread over the whole queue.
//!
//! The lottery needs no memory. An operation's priority is drawn from its extent's number, so that it is
//! the same whenever it is asked for, and from the exponential distribution: of any set of operations the
//! one that is drawn first is each of them with the probability of its share (Efraimidis and Spirakis,
//! "Weighted random sampling with a reservoir", 2006).
#![no_std]

mod datanode_policy;
use datanode_policy::*;

policy!(
    r#"{"name":"fair-share","version":"1","reasons":["unspecified",
"on its last copy: not a matter of shares",
"somebody waits for the answer",
"drawn by lot",
"drawn by lot, with the shares of its class",
"no copy to read from",
"it is being deleted",
"asked for twice",
"one after the other",
"a delete ends the work on what it deletes",
"the last copy is repaired before it is moved",
"the node stays"],
"config":{"type":"object","properties":{"shares":{"type":"string","pattern":"^([^=,]+=[0-9]+(,|$))*$"}}}}"#,
    score,
    conflict
);

const LAST_COPY: u16 = 1;
const ANSWER: u16 = 2;
const DRAWN: u16 = 3;
const DRAWN_WITH_SHARES: u16 = 4;
const NO_SOURCE: u16 = 5;
const DELETED: u16 = 6;
const SAME: u16 = 7;
const IN_LINE: u16 = 8;
const DELETE_WINS: u16 = 9;
const LAST_COPY_FIRST: u16 = 10;
const NODE_STAYS: u16 = 11;

// Ranks. The lottery is held within the lowest; waiting raises an operation from its lower end to its
// upper one in less than four hours, so that bad luck ends.
const RANK_LAST_COPY: i32 = 30_000_000;
const RANK_ANSWER: i32 = 20_000_000;
const RANK_LOTTERY: i32 = 10_000_000; // less the lot; never below 0
const RANK_NO_SOURCE: i32 = -10_000_000;
const PER_SECOND: i64 = 150;
const LONGEST_WAIT: i64 = 4 * 3600; // seconds
const PER_ATTEMPT: i32 = 10_000;

fn score(f: &Facts) -> Score {
    let (rank, reason) = rank(f);
    let waited = (f.waiting_micros / 1_000_000).clamp(0, LONGEST_WAIT) * PER_SECOND;
    Score::new(rank + waited as i32 - f.attempts as i32 * PER_ATTEMPT, reason)
}

fn rank(f: &Facts) -> (i32, u16) {
    match f.kind {
        Kind::CREATE | Kind::SEAL | Kind::DECOMMISSION | Kind::RECOMMISSION => (RANK_ANSWER, ANSWER),
        Kind::REPAIR if f.live_replicas == 0 => (RANK_NO_SOURCE, NO_SOURCE),
        Kind::REPAIR if f.live_replicas == 1 && f.want_replicas > 1 => (RANK_LAST_COPY, LAST_COPY),
        _ => {
            let shares = shares_of(f.class_tag());
            let reason = if shares > 1 { DRAWN_WITH_SHARES } else { DRAWN };
            (RANK_LOTTERY - lot(f.extent) as i32 / shares as i32, reason)
        }
    }
}

/// A draw from the exponential distribution, in 1/65536 of a halving: 0 to 2 097 152, half of all draws
/// below 65 536.
fn lot(extent: u64) -> u32 {
    let draw = (mixed(extent) >> 32) as u32 | 1; // 1 to 2^32 - 1
    (32 << 16) - log2(draw)
}

/// splitmix64, whose bits look random for numbers that follow each other.
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// The binary logarithm of n >= 1, with 16 bits behind the point: one for each time that the square
/// of the rest reaches 2. Integers only, so that it is the same everywhere.
fn log2(n: u32) -> u32 {
    let whole = 31 - n.leading_zeros();
    let mut rest = (n as u64) << (31 - whole); // 2^31 to 2^32 - 1: 1 to 2
    let mut result = whole;
    for _ in 0..16 {
        rest = rest * rest >> 31;
        let bit = rest >> 32;
        rest >>= bit;
        result = result << 1 | bit as u32;
    }
    result
}

const MOST_SHARES: u32 = 100;

/// How many tickets an operation of the class has: as "shares" says, such as "gold=4,archive=2"; one
/// where it says nothing.
fn shares_of(class: &[u8]) -> u32 {
    let mut rest = shares();
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b',').unwrap_or(rest.len());
        let item = &rest[..end];
        rest = &rest[(end + 1).min(rest.len())..];
        if let Some(at) = item.iter().position(|b| *b == b'=') {
            if item[..at] == *class {
                return number(&item[at + 1..]).clamp(1, MOST_SHARES);
            }
        }
    }
    1
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |n: u32, d| n.saturating_mul(10).saturating_add(d.wrapping_sub(b'0').min(9) as u32))
}

/// The configured shares. They are asked for once: a configuration never changes while an instance lives.
fn shares() -> &'static [u8] {
    const ROOM: usize = 256;
    static mut TEXT: [u8; ROOM] = [0; ROOM];
    static mut BYTES: Option<usize> = None;
    unsafe {
        let room = &mut *core::ptr::addr_of_mut!(TEXT);
        let bytes = match BYTES {
            Some(n) => n,
            None => config_get("shares", room).map_or(0, |text| text.len()),
        };
        BYTES = Some(bytes);
        &room[..bytes]
    }
}

fn conflict(existing: &Facts, incoming: &Facts, same_node: bool) -> Resolution {
    match (existing.kind, incoming.kind) {
        (Kind::DELETE, Kind::DELETE) => Resolution::new(Verdict::MERGE, SAME),
        (Kind::DELETE, _) => Resolution::new(Verdict::REJECT, DELETED),
        (Kind::CREATE, _) => Resolution::new(Verdict::WAIT, IN_LINE),
        (_, Kind::DELETE) => Resolution::new(Verdict::SUPERSEDE, DELETE_WINS),
        (Kind::MOVE, Kind::REPAIR) if incoming.live_replicas <= 1 => Resolution::new(Verdict::SUPERSEDE, LAST_COPY_FIRST),
        (Kind::DECOMMISSION, Kind::RECOMMISSION) => Resolution::new(Verdict::SUPERSEDE, NODE_STAYS),
        (Kind::MOVE, Kind::MOVE) if !same_node => Resolution::new(Verdict::WAIT, IN_LINE),
        (have, comes) if have == comes && have != Kind::PUNCH => Resolution::new(Verdict::MERGE, SAME),
        _ => Resolution::new(Verdict::WAIT, IN_LINE),
    }
}
