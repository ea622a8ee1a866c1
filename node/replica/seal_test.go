package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// sealing is an open extent on three nodes, which n1 is to seal.
type sealing struct {
	log    *memLog
	stores map[state.NodeID]*extent.Store
	parts  map[state.NodeID]*sealPart
	sealer *sealer

	mu   sync.Mutex
	away map[state.NodeID]error // Guarded by mu. What a step at the node comes to; errHangs: nothing, for ever
}

var errHangs = errors.New("hangs")

func newSealing(t *testing.T) *sealing {
	t.Helper()
	log := newMemLog("join n1 n2 n3\ncreate on=n1,n2,n3\nstart create executor=n1\nfinish create done")
	s := &sealing{
		log:    log,
		away:   map[state.NodeID]error{},
		stores: map[state.NodeID]*extent.Store{},
		parts:  map[state.NodeID]*sealPart{},
	}
	e := log.View().Extent(1)
	for _, id := range []state.NodeID{"n1", "n2", "n3"} {
		store := memStore(t)
		if err := store.Create(1, extent.Fence(e.Epoch), extent.Birth(e.Birth())); err != nil {
			t.Fatal(err)
		}
		s.stores[id], s.parts[id] = store, &sealPart{id: id, log: log, store: store}
	}
	s.sealer = &sealer{
		id: "n1", log: log, clock: testClock(), logger: noLogger(), part: s.parts["n1"], step: s.step,
		silent: func(state.NodeID) bool { return false }, downAfter: 4 * time.Second,
	}
	return s
}

func (s *sealing) step(ctx context.Context, to state.NodeID, req mux.Request) (mux.Reply, error) {
	s.mu.Lock()
	err := s.away[to]
	s.mu.Unlock()
	switch err {
	case nil:
	case errHangs:
		<-ctx.Done()
		return mux.Reply{}, ctx.Err()
	default:
		return mux.Reply{}, err
	}
	text, ok := req.Body.(*wire.ReplicaFence)
	if !ok {
		return mux.Reply{}, fmt.Errorf("asked %T", req.Body)
	}
	got, err := s.parts[to].do(*text, state.Fence(req.Fence))
	if err != nil {
		return mux.Reply{}, err
	}
	body, err := wire.Marshal(&got)
	return mux.Reply{Body: body}, err
}

// append puts bytes on some replicas, from offset on.
func (s *sealing) append(t *testing.T, offset uint64, p []byte, on ...state.NodeID) {
	t.Helper()
	for _, id := range on {
		epoch := extent.Fence(s.log.View().Extent(1).Epoch)
		if err := s.stores[id].Append(1, epoch, offset, p); err != nil {
			t.Fatal(err)
		}
	}
}

// length is how far a replica goes.
func (s *sealing) length(t *testing.T, id state.NodeID) uint64 {
	t.Helper()
	info, err := s.stores[id].Stat(1)
	if err != nil {
		t.Fatal(err)
	}
	return info.Length
}

// start starts the seal, and answers the operation that runs.
func (s *sealing) start(t *testing.T) *state.Op {
	t.Helper()
	if got := s.log.run("seal 1\nstart seal executor=n1"); strings.Count(got, "ok") != 2 {
		t.Fatal(got)
	}
	return s.log.op("seal")
}

// A seal finds what was acknowledged, whoever is away and whatever a failed append has left on some replicas; no
// replica takes an append of the old epoch after it has answered.
func TestSeal(t *testing.T) {
	acked, rest := bytes.Repeat([]byte("a"), 5000), bytes.Repeat([]byte("b"), 100)
	gone := wire.Errorf(wire.OpReplicaFence, wire.CodeNotFound, "no file")
	for _, c := range []struct {
		name   string
		away   map[state.NodeID]error
		left   []state.NodeID // has the rest, which was not acknowledged
		length int
		who    []state.NodeID
		took   time.Duration
	}{
		{"all are there", nil, nil, 5000, []state.NodeID{"n1", "n2", "n3"}, 0},
		{"an append has failed", nil, []state.NodeID{"n2"}, 5100, []state.NodeID{"n2"}, 0},
		{"one hangs", map[state.NodeID]error{"n3": errHangs}, nil, 5000, []state.NodeID{"n1", "n2"}, sealAnswer},
		{"one has lost its file", map[state.NodeID]error{"n3": gone}, nil, 5000, []state.NodeID{"n1", "n2"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSealing(t)
				s.append(t, 0, acked, "n1", "n2", "n3")
				s.append(t, uint64(len(acked)), rest, c.left...)
				for id, err := range c.away {
					s.away[id] = err
				}
				o, epoch, began := s.start(t), extent.Fence(s.log.View().Extent(1).Epoch), time.Now()
				got, err := s.sealer.seal(t.Context(), o)
				if err != nil || got.Length != uint64(c.length) || !slices.Equal(got.Confirmed, c.who) || got.Damaged {
					t.Fatalf("%+v, %v, want %d bytes on %v", got, err, c.length, c.who)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
				want := crc32.Checksum(slices.Concat(acked, rest)[:c.length], crc32.MakeTable(crc32.Castagnoli))
				if got.Sum != want {
					t.Errorf("sum %s, want %s", wire.SumText(got.Sum), wire.SumText(want))
				}
				for id := range s.stores {
					if c.away[id] != nil {
						continue
					}
					err := s.stores[id].Append(1, epoch, s.length(t, id), rest)
					if code := extent.CodeOf(err); code != extent.CodeStaleFence && code != extent.CodeSealed {
						t.Errorf("%s takes an append after the seal: %v", id, err)
					}
				}
			})
		})
	}
}

// A seal that cannot do without a replica waits for its node, and says so when that is in vain.
func TestSealWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSealing(t)
		s.append(t, 0, []byte("acknowledged"), "n1", "n2", "n3")
		s.log.run("down n2\ndown n3\nsuspect 1 n1 always") // nobody knows whether n1 has kept all
		down := wire.Errorf(wire.OpReplicaFence, wire.CodeUnavailable, "nobody listens")
		s.away["n2"], s.away["n3"] = down, down
		o, began := s.start(t), time.Now()
		_, err := s.sealer.seal(t.Context(), o)
		var awaited *awaitedError
		if !errors.As(err, &awaited) || time.Since(began) < sealWait {
			t.Fatalf("ended after %s: %v", time.Since(began), err)
		}
		go func() {
			time.Sleep(time.Second)
			s.mu.Lock()
			delete(s.away, "n2")
			s.mu.Unlock()
			s.log.run("up n2")
		}()
		began = time.Now()
		got, err := s.sealer.seal(t.Context(), o)
		if err != nil || got.Length != uint64(len("acknowledged")) || time.Since(began) != time.Second {
			t.Errorf("after n2 came up: %+v, %v after %s", got, err, time.Since(began))
		}
	})
}
