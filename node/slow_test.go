package node

import (
	"bytes"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Readers that take nothing, each waiting in the middle of an answer that their node passes on from another,
// do not keep others from reading the same way.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	const slow = 24
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.Settings["replicas"] = "1" })
	want := pattern(1, 4<<20)
	loc := c.put(want)
	holder := string(c.any().log.View().Extent(state.ExtentID(loc.Extent)).Primary())
	by := map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}[holder] // has no replica, and must ask the holder
	conn := c.raw(by)
	for range slow {
		st, err := conn.Open(testContext(t), mux.Request{
			Op: wire.OpRead, Session: wire.SessionClient, End: true, Body: &wire.ReadRequest{Locator: loc},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
	}
	c.untilTrue("the slow readers' answers are stuck", func() bool {
		stuck := 0
		for _, conn := range c.nodes[by].transport.Table().Scan() {
			for _, s := range conn.Stats.Sessions {
				if conn.Direction == "out" && conn.Peer == holder && s.Session == wire.SessionClient {
					stuck = s.Held
				}
			}
		}
		return stuck > 6<<20
	})
	for range 2 {
		var got bytes.Buffer
		if err := c.readVia(by, loc, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("read %d bytes, %v", got.Len(), err)
		}
	}
}
