/*
 * my-policy: extents of the class "urgent" go first, and a delete ends the work on what it deletes.
 *
 * Where to go on: give it the rules that you need in dn_score and dn_conflict, a line in DN_POLICY for each of
 * them, and a case in cases/ for each line. Then: datanode policy test
 */
#include "datanode_policy.h"

/* Reasons are what people read in datanode op explain. Their order is that of the lines below. */
enum {
	URGENT = 1, REDUNDANCY_LOST, CAN_WAIT,
	DELETE_WINS, BEING_DELETED, ASKED_TWICE, NODE_STAYS, IN_LINE,
};

/* Another version for each policy that you load, so that decisions can be told apart. */
DN_POLICY("{\"name\":\"my-policy\",\"version\":\"1\",\"reasons\":["
	"\"unspecified\","
	"\"its class is urgent\","
	"\"redundancy is lost\","
	"\"can wait\","
	"\"a delete ends the work on what it deletes\","
	"\"it is being deleted\","
	"\"asked for twice\","
	"\"the node stays\","
	"\"one after the other\"]}");

#define URGENT_CLASS 10000
#define PER_MISSING_COPY 1000
#define PER_MINUTE_WAITED 10
#define LONGEST_WAIT 1200 /* minutes; then it is worth more than being urgent, and nothing waits for ever */

static int is_urgent(const dn_facts *f)
{
	static const char class[sizeof f->class_tag] = "urgent"; /* zero padded, as the tag is */
	for (unsigned i = 0; i < sizeof class; i++)
		if ((char)f->class_tag[i] != class[i])
			return 0;
	return 1;
}

/*
 * How urgent an operation is: the highest priority starts first. dn_facts lists all that there is to go by: its
 * kind, who asked for it, copies, bytes, how long it has waited. Answer from the facts alone (and a configuration,
 * if you want one): no variables that change. A node tries that before it accepts a policy.
 */
static dn_score_t dn_score(const dn_facts *f)
{
	int64_t minutes = f->waiting_micros / 60000000;
	int32_t waited, missing = f->want_replicas - f->live_replicas;

	if (minutes < 0)
		minutes = 0;
	if (minutes > LONGEST_WAIT)
		minutes = LONGEST_WAIT;
	waited = (int32_t)minutes * PER_MINUTE_WAITED;
	if (is_urgent(f))
		return (dn_score_t){ .priority = URGENT_CLASS + waited, .reason = URGENT };
	if (f->kind == DN_REPAIR && f->live_replicas > 0 && missing > 0) {
		if (missing > 9)
			missing = 9;
		return (dn_score_t){ .priority = missing * PER_MISSING_COPY + waited, .reason = REDUNDANCY_LOST };
	}
	return (dn_score_t){ .priority = waited, .reason = CAN_WAIT };
}

static dn_resolution_t because(uint8_t verdict, uint16_t reason)
{
	return (dn_resolution_t){ .verdict = verdict, .reason = reason };
}

/*
 * Who yields when an operation arrives for an extent or a node that another one is already there for. A verdict
 * that could lose data is overruled by the cell.
 */
static dn_resolution_t dn_conflict(const dn_facts *existing, const dn_facts *incoming, int same_node)
{
	uint8_t have = existing->kind, comes = incoming->kind;

	if (have == DN_DELETE && comes != have)
		return because(DN_REJECT, BEING_DELETED);
	if (have == DN_CREATE)
		return because(DN_WAIT, IN_LINE);
	if (comes == DN_DELETE && comes != have)
		return because(DN_SUPERSEDE, DELETE_WINS);
	if (have == DN_DECOMMISSION && comes == DN_RECOMMISSION)
		return because(DN_SUPERSEDE, NODE_STAYS);
	if (have == comes && have != DN_PUNCH && (have != DN_MOVE || same_node))
		return because(DN_MERGE, ASKED_TWICE);
	return because(DN_WAIT, IN_LINE);
}
