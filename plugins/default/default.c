/*
 * The default policy in C. It says what policies/native.go says, and a test holds the two against
 * each other: change both or neither. Numbers and reasons are explained there.
 *
 * Rebuild default.wasm with `.ci/wasm --write`.
 */
#include "datanode_policy.h"

enum {
	LAST_COPY = 1, REDUNDANCY_LOST = 2, REDUNDANCY_WHOLE = 3, NO_SOURCE = 4,
	CREATE = 5, SEAL = 6, DELETE_USER = 7, DELETE_CELL = 8, PUNCH = 9,
	MOVE_EMPTIES = 10, MOVE_BALANCES = 11, NODE_OPERATION = 12, UNKNOWN_KIND = 13,
	NOTHING_AFTER_DELETE = 14, ASKED_TWICE = 15, DELETE_ENDS_WORK = 16, NOT_THERE_YET = 17,
	ONE_AT_A_TIME = 18, LAST_COPY_FIRST = 19, MOVE_YIELDS = 20, RECOMMISSION_ENDS = 21,
	NODE_LEAVES = 22, NODE_RETURNS = 23, NO_RULE = 24,
};

DN_POLICY("{\"name\":\"default\",\"version\":\"1\",\"reasons\":["
	"\"unspecified\","
	"\"repair: one live copy is left\","
	"\"repair: redundancy is lost\","
	"\"repair: redundancy is whole\","
	"\"repair: no live copy to read from\","
	"\"create: a client waits\","
	"\"seal: writing goes on after it\","
	"\"delete: asked for by a client\","
	"\"delete: the cell frees space\","
	"\"punch: frees space\","
	"\"move: a node is being emptied\","
	"\"move: balances\","
	"\"node operation: cheap, an operator waits\","
	"\"unknown kind\","
	"\"nothing overtakes a delete\","
	"\"asked for twice\","
	"\"a delete ends the work on what it deletes\","
	"\"the extent is still being created\","
	"\"one operation at a time changes an extent\","
	"\"the last copy is repaired before it is moved\","
	"\"a queued move yields to a repair\","
	"\"a recommission ends the decommission\","
	"\"the node is leaving\","
	"\"the node is still returning\","
	"\"no rule for this pair\"]}");

static dn_score_t band(int32_t priority, uint16_t reason)
{
	return (dn_score_t){ .priority = priority, .reason = reason };
}

static dn_score_t band_of_repair(const dn_facts *f)
{
	int32_t live = f->live_replicas;
	if (live == 0)
		return band(-1000, NO_SOURCE);
	if (live >= f->want_replicas)
		return band(0, REDUNDANCY_WHOLE);
	if (live == 1)
		return band(11000, LAST_COPY);
	int32_t priority = 6000 - 1000 * (live - 2);
	return band(priority > 4000 ? priority : 4000, REDUNDANCY_LOST);
}

/*
 * Kinds come in no order, and a jump that cannot be foreseen takes longer than all else here: so what
 * does not depend on copies is looked up, the second row for what is in more of a hurry than its kind.
 */
static dn_score_t band_of(const dn_facts *f)
{
	static const dn_score_t bands[2][DN_RECOMMISSION + 1] = {
		{
			[0] = { -2000, UNKNOWN_KIND, 0 }, [DN_CREATE] = { 10000, CREATE, 0 }, [DN_SEAL] = { 9000, SEAL, 0 },
			[DN_MOVE] = { 0, MOVE_BALANCES, 0 }, [DN_DELETE] = { 3000, DELETE_CELL, 0 }, [DN_PUNCH] = { 2000, PUNCH, 0 },
			[DN_DECOMMISSION] = { 7000, NODE_OPERATION, 0 }, [DN_RECOMMISSION] = { 7000, NODE_OPERATION, 0 },
		},
		{
			[DN_MOVE] = { 1000, MOVE_EMPTIES, 0 }, [DN_DELETE] = { 8000, DELETE_USER, 0 },
		},
	};
	if (f->kind == DN_REPAIR)
		return band_of_repair(f);
	int hurry = (f->kind == DN_MOVE & f->origin == DN_BY_DECOMMISSION) | (f->kind == DN_DELETE & f->origin == DN_BY_USER);
	return bands[hurry][f->kind <= DN_RECOMMISSION ? f->kind : 0];
}

static dn_score_t dn_score(const dn_facts *f)
{
	dn_score_t s = band_of(f);
	if (f->waiting_micros > 0) {
		int64_t age = f->waiting_micros / 10000000;
		s.priority += (int32_t)(age < 400 ? age : 400);
	}
	s.priority -= (f->attempts < 4 ? f->attempts : 4) * 100;
	return s;
}

static dn_resolution_t resolve(uint8_t verdict, uint16_t reason)
{
	return (dn_resolution_t){ .verdict = verdict, .reason = reason };
}

static dn_resolution_t conflict_on_extent(const dn_facts *existing, const dn_facts *incoming, int same_node)
{
	uint8_t have = existing->kind, comes = incoming->kind;
	if (comes == DN_DELETE)
		return resolve(DN_SUPERSEDE, DELETE_ENDS_WORK);
	if (comes == have && (have == DN_SEAL || have == DN_REPAIR || (have == DN_MOVE && same_node)))
		return resolve(DN_MERGE, ASKED_TWICE);
	if (have == DN_MOVE && comes == DN_REPAIR) {
		if (incoming->live_replicas <= 1)
			return resolve(DN_SUPERSEDE, LAST_COPY_FIRST);
		if (existing->phase == DN_QUEUED)
			return resolve(DN_SUPERSEDE, MOVE_YIELDS);
	}
	return resolve(DN_WAIT, ONE_AT_A_TIME);
}

static dn_resolution_t dn_conflict(const dn_facts *existing, const dn_facts *incoming, int same_node)
{
	uint8_t comes = incoming->kind;
	switch (existing->kind) {
	case DN_CREATE:
		return resolve(DN_WAIT, NOT_THERE_YET);
	case DN_DELETE:
		return comes == DN_DELETE ? resolve(DN_MERGE, ASKED_TWICE) : resolve(DN_REJECT, NOTHING_AFTER_DELETE);
	case DN_SEAL:
	case DN_REPAIR:
	case DN_MOVE:
	case DN_PUNCH:
		return conflict_on_extent(existing, incoming, same_node);
	case DN_DECOMMISSION:
		if (comes == DN_DECOMMISSION)
			return resolve(DN_MERGE, ASKED_TWICE);
		if (comes == DN_RECOMMISSION)
			return resolve(DN_SUPERSEDE, RECOMMISSION_ENDS);
		return resolve(DN_REJECT, NODE_LEAVES);
	case DN_RECOMMISSION:
		if (comes == DN_RECOMMISSION)
			return resolve(DN_MERGE, ASKED_TWICE);
		if (comes == DN_DECOMMISSION)
			return resolve(DN_WAIT, NODE_RETURNS);
	}
	return resolve(DN_REJECT, NO_RULE);
}
