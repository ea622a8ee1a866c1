//! Tells the host every fact that it sees. The tests of the bindings hold it against golden.txt.
#![no_std]

mod datanode_policy;
use datanode_policy::*;

policy!(r#"{"name":"echo","version":"1","reasons":["unspecified"]}"#, score, conflict);

fn tell(f: &Facts) {
    counter_add("op_index", f.op_index as i64);
    counter_add("extent", f.extent as i64);
    counter_add("length_bytes", f.length_bytes as i64);
    counter_add("now_micros", f.now_micros);
    counter_add("waiting_micros", f.waiting_micros);
    counter_add("op_place", f.op_place as i64);
    counter_add("queued_ops", f.queued_ops as i64);
    counter_add("running_ops", f.running_ops as i64);
    counter_add("running_same", f.running_same as i64);
    counter_add("kind", f.kind.0 as i64);
    counter_add("phase", f.phase.0 as i64);
    counter_add("origin", f.origin.0 as i64);
    counter_add("attempts", f.attempts as i64);
    counter_add("extent_open", f.extent_open as i64);
    counter_add("live_replicas", f.live_replicas as i64);
    counter_add("want_replicas", f.want_replicas as i64);
    log(&f.class);
}

fn score(f: &Facts) -> Score {
    tell(f);
    Score::new(f.waiting_micros as i32, f.op_place as u16)
}

fn conflict(existing: &Facts, incoming: &Facts, same_node: bool) -> Resolution {
    counter_add("same_node", same_node as i64);
    tell(existing);
    tell(incoming);
    Resolution::new(Verdict(incoming.kind.0), existing.op_place as u16)
}
