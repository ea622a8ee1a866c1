/* Tells the host every fact that it sees. The tests of the bindings hold it against golden.txt. */
#include "datanode_policy.h"

DN_POLICY("{\"name\":\"echo\",\"version\":\"1\",\"reasons\":[\"unspecified\"]}");

#define TELL(name, value) dn_counter_add(name, sizeof name - 1, (int64_t)(value))

static void tell(const dn_facts *f)
{
	TELL("op_index", f->op_index);
	TELL("extent", f->extent);
	TELL("length_bytes", f->length_bytes);
	TELL("now_micros", f->now_micros);
	TELL("waiting_micros", f->waiting_micros);
	TELL("op_place", f->op_place);
	TELL("queued_ops", f->queued_ops);
	TELL("running_ops", f->running_ops);
	TELL("running_same", f->running_same);
	TELL("kind", f->kind);
	TELL("phase", f->phase);
	TELL("origin", f->origin);
	TELL("attempts", f->attempts);
	TELL("extent_open", f->extent_open);
	TELL("live_replicas", f->live_replicas);
	TELL("want_replicas", f->want_replicas);
	dn_log(f->class_tag, sizeof f->class_tag);
}

static dn_score_t dn_score(const dn_facts *f)
{
	tell(f);
	return (dn_score_t){ .priority = (int32_t)f->waiting_micros, .reason = (uint16_t)f->op_place };
}

static dn_resolution_t dn_conflict(const dn_facts *existing, const dn_facts *incoming, int same_node)
{
	TELL("same_node", same_node);
	tell(existing);
	tell(incoming);
	return (dn_resolution_t){ .verdict = incoming->kind, .reason = (uint16_t)existing->op_place };
}
