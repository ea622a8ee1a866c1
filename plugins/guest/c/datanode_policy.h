/*
 * datanode_policy.h - policies for datanode in C, ABI v1. Nothing but this header is needed:
 *
 *   clang --target=wasm32 -O2 -nostdlib -fvisibility=hidden -I. \
 *     -Wl,--no-entry,--strip-all,--stack-first,-z,stack-size=16384 -o mine.wasm mine.c
 *
 * A policy defines dn_score and dn_conflict, and names itself with DN_POLICY(json). Both functions
 * must answer from their arguments alone. See docs/policy-abi.md for what the host checks.
 */
#ifndef DATANODE_POLICY_H
#define DATANODE_POLICY_H

#include <stdint.h>

#define DN_EXPORT(name) __attribute__((export_name(#name), visibility("default")))
#define DN_IMPORT(name) __attribute__((import_module("datanode"), import_name(#name)))

enum {
	DN_CREATE = 1, DN_SEAL = 2, DN_REPAIR = 3, DN_MOVE = 4,
	DN_DELETE = 5, DN_PUNCH = 6, DN_DECOMMISSION = 7, DN_RECOMMISSION = 8,
};
enum { DN_INCOMING = 1, DN_QUEUED = 2, DN_RUNNING = 3 };
enum { DN_USER = 1, DN_CELL = 2, DN_BY_DECOMMISSION = 3 };
enum { DN_COEXIST = 1, DN_WAIT = 2, DN_SUPERSEDE = 3, DN_MERGE = 4, DN_REJECT = 5 };

/* Records are little-endian and grow at their end only, so walk by strides, never by sizeof. */
typedef struct {
	uint16_t version;
	uint16_t header_bytes;
	uint32_t stride;
	uint32_t count;
	uint32_t facts_stride;
	uint32_t answer_stride;
	uint32_t zero;
} dn_header;

typedef struct {
	uint64_t op_index;
	uint64_t extent;
	uint64_t length_bytes;
	int64_t now_micros;
	int64_t waiting_micros;
	uint32_t op_place;
	uint32_t queued_ops;
	uint32_t running_ops;
	uint32_t running_same;
	uint8_t kind;
	uint8_t phase;
	uint8_t origin;
	uint8_t attempts;
	uint8_t extent_open;
	uint8_t live_replicas;
	uint8_t want_replicas;
	uint8_t zero;
	char class_tag[16];
} dn_facts;

typedef struct {
	int32_t priority;
	uint16_t reason;
	uint16_t zero;
} dn_score_t;

typedef struct {
	uint8_t verdict;
	uint8_t zero;
	uint16_t reason;
	uint32_t zeros;
} dn_resolution_t;

_Static_assert(sizeof(dn_header) == 24, "header");
_Static_assert(sizeof(dn_facts) == 80, "facts");
_Static_assert(sizeof(dn_score_t) == 8, "score");
_Static_assert(sizeof(dn_resolution_t) == 8, "resolution");

/* What a policy may ask of the host. */
DN_IMPORT(log) void dn_log(const char *text, uint32_t bytes);
DN_IMPORT(config_get) uint32_t dn_config_get(const char *key, uint32_t key_bytes, char *out, uint32_t room);
DN_IMPORT(counter_add) void dn_counter_add(const char *name, uint32_t name_bytes, int64_t delta);

/* What a policy defines. */
static dn_score_t dn_score(const dn_facts *f);
static dn_resolution_t dn_conflict(const dn_facts *existing, const dn_facts *incoming, int same_node);

/* DN_ARENA bytes are handed out by policy_alloc, once; the host asks for a batch and its answers. */
#ifndef DN_ARENA
#define DN_ARENA (48 * 1024)
#endif

#define DN_POLICY(json)                                                                            \
	static uint64_t dn_arena[DN_ARENA / 8];                                                    \
	static uint32_t dn_arena_used;                                                             \
	DN_EXPORT(policy_abi_v1) void dn_export_marker(void) {}                                    \
	DN_EXPORT(policy_alloc) uint32_t dn_export_alloc(uint32_t n)                               \
	{                                                                                          \
		uint32_t words = n / 8 + 1;                                                        \
		if (words > DN_ARENA / 8 - dn_arena_used)                                          \
			__builtin_trap();                                                          \
		uint64_t *at = dn_arena + dn_arena_used;                                           \
		dn_arena_used += words;                                                            \
		return (uint32_t)(uintptr_t)at;                                                    \
	}                                                                                          \
	DN_EXPORT(policy_describe) uint64_t dn_export_describe(void)                               \
	{                                                                                          \
		static const char text[] = json;                                                   \
		return (uint64_t)(uintptr_t)text << 32 | (sizeof text - 1);                        \
	}                                                                                          \
	DN_EXPORT(policy_score) uint32_t dn_export_score(uint32_t in, uint32_t n, uint32_t out)    \
	{                                                                                          \
		const dn_header *h = (const dn_header *)(uintptr_t)in;                             \
		in += h->header_bytes;                                                             \
		for (uint32_t i = 0; i < n; i++, in += h->stride, out += h->answer_stride)         \
			*(dn_score_t *)(uintptr_t)out = dn_score((const dn_facts *)(uintptr_t)in); \
		return n;                                                                          \
	}                                                                                          \
	DN_EXPORT(policy_conflict) uint32_t dn_export_conflict(uint32_t in, uint32_t n, uint32_t out) \
	{                                                                                          \
		const dn_header *h = (const dn_header *)(uintptr_t)in;                             \
		in += h->header_bytes;                                                             \
		for (uint32_t i = 0; i < n; i++, in += h->stride, out += h->answer_stride) {       \
			const dn_facts *existing = (const dn_facts *)(uintptr_t)(in + 8);          \
			const dn_facts *incoming = (const dn_facts *)(uintptr_t)(in + 8 + h->facts_stride); \
			*(dn_resolution_t *)(uintptr_t)out =                                       \
				dn_conflict(existing, incoming, *(const uint8_t *)(uintptr_t)in);  \
		}                                                                                  \
		return n;                                                                          \
	}                                                                                          \
	_Static_assert(1, "") /* takes the semicolon */

#endif
