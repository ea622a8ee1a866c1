package logs

import (
	"cmp"
	"context"
	"maps"
	"math/bits"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
)

// Stats is what a range of a log is made of.
type Stats struct {
	First        uint64    `json:"first"`
	Last         uint64    `json:"last"`
	Entries      int       `json:"entries"`
	Bytes        int       `json:"bytes"`
	Damaged      int       `json:"damaged"`
	Groups       []Group   `json:"groups"`
	CommandsEach []Bucket  `json:"commands_an_entry"` // how many entries have so many commands
	Latency      []Latency `json:"latency"`
	Cost         Spread    `json:"decision_cost"` // metered work, of decisions of a policy that is metered
}

// Group counts the entries or commands that have something in common.
type Group struct {
	By    string `json:"by"` // "type", "command", "kind", "policy", "asked by", "outcome"
	Name  string `json:"name"`
	Count int    `json:"count"`
	Bytes int    `json:"bytes,omitempty"` // of entries, by type
}

// Bucket counts what is from From to To.
type Bucket struct {
	From  int `json:"from"`
	To    int `json:"to"`
	Count int `json:"count"`
}

// Latency is how long operations of a kind took between two of their entries, in microseconds of the cell's time.
type Latency struct {
	Kind string `json:"kind"`
	Step string `json:"step"` // "admit to start", "start to end"
	Spread
}

// Spread is the median and the 99th percentile of Count values.
type Spread struct {
	Count int   `json:"count"`
	P50   int64 `json:"p50"`
	P99   int64 `json:"p99"`
}

// maxSpread bounds the values that are kept for a Spread: of more, the first ones count.
const maxSpread = 1 << 20

func spread(values []int64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	at := func(share int) int64 { return values[min(len(values)*share/100, len(values)-1)] }
	return Spread{len(values), at(50), at(99)}
}

// counting is a Stats in the making.
type counting struct {
	out     Stats
	groups  map[Group]*Group // by By and Name
	sizes   map[int]int      // by number of bits
	costs   []int64
	open    map[state.OpID]opened
	latency map[[2]string][]int64
}

// opened is an operation that has not ended yet.
type opened struct {
	kind            string
	admitted, start int64
	presumed        bool // start is that of the admit, which may not have come to it
}

// Count reads a range of a log.
func Count(ctx context.Context, s Source, r Range, take func(Entry) bool) (Stats, error) {
	c := counting{groups: make(map[Group]*Group), sizes: make(map[int]int), open: make(map[state.OpID]opened),
		latency: make(map[[2]string][]int64)}
	for e, err := range s.Entries(ctx, r) {
		if err != nil {
			return Stats{}, err
		}
		if take(e) {
			c.entry(e)
		}
	}
	return c.end(), nil
}

func (c *counting) add(by, name string, bytes int) {
	if name == "" {
		return
	}
	key := Group{By: by, Name: name}
	g := c.groups[key]
	if g == nil {
		g = &Group{By: by, Name: name}
		c.groups[key] = g
	}
	g.Count++
	g.Bytes += bytes
}

func (c *counting) entry(e Entry) {
	if c.out.Entries == 0 {
		c.out.First = e.Index()
	}
	c.out.Entries++
	c.out.Last = e.Index()
	c.out.Bytes += e.bytes()
	if e.read != nil && e.read.Err != nil {
		c.out.Damaged++
	}
	c.add("type", e.kind(), e.bytes())
	commands := e.commands()
	if len(commands) > 0 {
		c.sizes[bits.Len(uint(len(commands)))]++
	}
	for place, cmd := range commands {
		if cmd != nil {
			c.command(cmd, state.NewOpID(state.Index(e.Index()), place), e.micros())
		}
	}
}

func (c *counting) command(cmd state.Command, id state.OpID, micros int64) {
	c.add("command", cmd.CommandType().String(), 0)
	c.add("asked by", string(state.AskedBy(cmd)), 0)
	switch cmd := cmd.(type) {
	case *state.Admit:
		c.add("kind", cmd.Kind.String(), 0)
		c.add("policy", cmd.Decision.Policy, 0)
		if cmd.Decision.Cost > 0 && len(c.costs) < maxSpread {
			c.costs = append(c.costs, int64(cmd.Decision.Cost))
		}
		c.open[id] = opened{kind: cmd.Kind.String(), admitted: micros}
		if cmd.Start { // unless a start of its own follows
			c.open[id] = opened{kind: cmd.Kind.String(), admitted: micros, start: micros, presumed: true}
		}
	case *state.Start:
		if o, ok := c.open[cmd.Op]; ok {
			if o.start == 0 || o.presumed {
				c.took(o.kind, "admit to start", micros-o.admitted)
			}
			o.start, o.presumed = micros, false
			c.open[cmd.Op] = o
		}
	case *state.Finish:
		outcome := about(cmd, id, nil).state
		c.add("outcome", outcome, 0)
		if o, ok := c.open[cmd.Op]; ok && cmd.Outcome != state.OutcomeRetry {
			if o.start != 0 {
				c.took(o.kind, "start to end", micros-o.start)
			}
			delete(c.open, cmd.Op)
		}
	case *state.Cancel:
		delete(c.open, cmd.Op)
	}
}

func (c *counting) took(kind, step string, micros int64) {
	key := [2]string{kind, step}
	if len(c.latency[key]) < maxSpread {
		c.latency[key] = append(c.latency[key], micros)
	}
}

func (c *counting) end() Stats {
	order := []string{"type", "command", "kind", "outcome", "policy", "asked by"}
	for _, g := range c.groups {
		c.out.Groups = append(c.out.Groups, *g)
	}
	slices.SortFunc(c.out.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.By), slices.Index(order, b.By)), cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Name, b.Name))
	})
	for _, size := range slices.Sorted(maps.Keys(c.sizes)) {
		c.out.CommandsEach = append(c.out.CommandsEach, Bucket{1 << (size - 1), 1<<size - 1, c.sizes[size]})
	}
	for key, values := range c.latency {
		c.out.Latency = append(c.out.Latency, Latency{key[0], key[1], spread(values)})
	}
	slices.SortFunc(c.out.Latency, func(a, b Latency) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Step, b.Step))
	})
	c.out.Cost = spread(c.costs)
	return c.out
}

func (e Entry) bytes() int {
	if e.read == nil {
		return e.told.Bytes
	}
	return e.read.Bytes
}
