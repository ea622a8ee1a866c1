/*
 * deletes-win: deletes start before everything else, and end the work on what they delete wherever
 * that is safe. Who waits long enough goes first all the same.
 */
#include "datanode_policy.h"

enum {
	DELETE_ASKED = 1, DELETE_CELL = 2, LAST_COPY = 3, ANSWER = 4, REPAIR = 5, REST = 6,
	DELETE_WINS = 7, BEING_DELETED = 8, SAME = 9, NOT_THERE_YET = 10, IN_LINE = 11, RECOMMISSIONED = 12,
};

DN_POLICY("{\"name\":\"deletes-win\",\"version\":\"1\",\"reasons\":["
	"\"unspecified\","
	"\"a client asked to delete\","
	"\"a delete frees space\","
	"\"on its last copy\","
	"\"somebody waits for the answer\","
	"\"redundancy is lost\","
	"\"can wait\","
	"\"a delete ends the work on what it deletes\","
	"\"it is being deleted\","
	"\"asked for twice\","
	"\"it is not there yet\","
	"\"one after the other\","
	"\"the node stays\"]}");

/* A point for each second of waiting, two hours of them at most: what has waited for so long goes
 * before a delete that has just come. */
#define LONGEST_WAIT 7200

static dn_score_t rank(const dn_facts *f)
{
	switch (f->kind) {
	case DN_DELETE:
		if (f->origin == DN_BY_USER)
			return (dn_score_t){ .priority = 7000, .reason = DELETE_ASKED };
		return (dn_score_t){ .priority = 6000, .reason = DELETE_CELL };
	case DN_CREATE:
	case DN_SEAL:
	case DN_DECOMMISSION:
	case DN_RECOMMISSION:
		return (dn_score_t){ .priority = 2000, .reason = ANSWER };
	case DN_REPAIR:
		if (f->live_replicas == 0 || f->live_replicas >= f->want_replicas)
			break;
		if (f->live_replicas == 1)
			return (dn_score_t){ .priority = 3000, .reason = LAST_COPY };
		return (dn_score_t){ .priority = 1000, .reason = REPAIR };
	}
	return (dn_score_t){ .priority = 0, .reason = REST };
}

static dn_score_t dn_score(const dn_facts *f)
{
	dn_score_t s = rank(f);
	int64_t waited = f->waiting_micros / 1000000;
	if (waited > LONGEST_WAIT)
		waited = LONGEST_WAIT;
	if (waited > 0)
		s.priority += (int32_t)waited;
	return s;
}

static dn_resolution_t because(uint8_t verdict, uint16_t reason)
{
	return (dn_resolution_t){ .verdict = verdict, .reason = reason };
}

static dn_resolution_t dn_conflict(const dn_facts *existing, const dn_facts *incoming, int same_node)
{
	uint8_t have = existing->kind, comes = incoming->kind;
	if (have == DN_DELETE)
		return comes == DN_DELETE ? because(DN_MERGE, SAME) : because(DN_REJECT, BEING_DELETED);
	if (have == DN_CREATE)
		return because(DN_WAIT, NOT_THERE_YET);
	if (comes == DN_DELETE)
		return because(DN_SUPERSEDE, DELETE_WINS);
	if (have == DN_DECOMMISSION && comes == DN_RECOMMISSION)
		return because(DN_SUPERSEDE, RECOMMISSIONED);
	if (have == comes && have != DN_PUNCH && (have != DN_MOVE || same_node))
		return because(DN_MERGE, SAME);
	return because(DN_WAIT, IN_LINE);
}
