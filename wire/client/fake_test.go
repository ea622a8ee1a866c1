package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// fakeCell is a cell in memory: what its nodes agree on. It keeps bytes and operations as a cell
// does, and breaks where a test says.
type fakeCell struct {
	mu       sync.Mutex
	extents  map[uint64][]byte
	sessions map[uint64]map[uint64]string // operation by session and number
	ops      []wire.Op
	next     uint64 // last index given out
	nodes    []wire.Node
}

func newFakeCell() *fakeCell {
	return &fakeCell{extents: map[uint64][]byte{}, sessions: map[uint64]map[uint64]string{}, next: 100}
}

// stored is a copy of what an extent holds.
func (cell *fakeCell) stored(extent uint64) []byte {
	cell.mu.Lock()
	defer cell.mu.Unlock()
	return bytes.Clone(cell.extents[extent])
}

// admitted counts the operations.
func (cell *fakeCell) admitted() int {
	cell.mu.Lock()
	defer cell.mu.Unlock()
	return len(cell.ops)
}

// fakeNode is one address of the cell.
type fakeNode struct {
	cell *fakeCell
	id   string
	l    net.Listener
	wg   sync.WaitGroup

	mu     sync.Mutex
	conns  []*mux.Conn
	dead   bool                                               // killed: what connects meanwhile is closed
	before func(ctx context.Context, c *mux.ServerCall) error // runs first; its error is the answer
	after  func(c *mux.ServerCall) (cut bool)                 // runs once the work is done; true cuts the connection
	calls  []wire.OpType
	lies   map[wire.OpType]any // answered instead of the truth
	takes  wire.Features       // of its hello
	whole  int                 // puts that came in one frame
	cutAt  int                 // bytes of a read after which the connection is cut, once; 0: never
}

func (cell *fakeCell) node(t *testing.T, id string) *fakeNode {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &fakeNode{cell: cell, id: id, l: l}
	n.wg.Go(n.accept)
	t.Cleanup(n.kill)
	return n
}

func (n *fakeNode) addr() string { return n.l.Addr().String() }

func (n *fakeNode) accept() {
	for {
		nc, err := n.l.Accept()
		if err != nil {
			return
		}
		n.wg.Go(func() { n.serve(nc) })
	}
}

func (n *fakeNode) serve(nc net.Conn) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(nc, first); err != nil || first[0] != wire.PreambleFrames {
		nc.Close()
		return
	}
	n.mu.Lock()
	hello := wire.Hello{Cell: "c", Node: n.id, Features: n.takes}
	n.mu.Unlock()
	conn, err := mux.Server(context.Background(), nc, mux.Config{
		Hello: hello, Handler: mux.HandlerFunc(func(ctx context.Context,
			c *mux.ServerCall) {
			n.handle(ctx, nc, c)
		}),
	})
	if err != nil {
		return
	}
	n.mu.Lock()
	n.conns = append(n.conns, conn)
	dead := n.dead
	n.mu.Unlock()
	if !dead { // kill has seen it, or will
		<-conn.Done()
	}
	conn.Close()
}

// kill ends the node as a crash would.
func (n *fakeNode) kill() {
	n.l.Close()
	n.mu.Lock()
	n.dead = true
	conns := n.conns
	n.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	n.wg.Wait()
}

func (n *fakeNode) set(before func(context.Context, *mux.ServerCall) error, after func(*mux.ServerCall) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.before, n.after = before, after
}

// asked counts the calls of op that came here.
func (n *fakeNode) asked(op wire.OpType) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, o := range n.calls {
		if o == op {
			count++
		}
	}
	return count
}

func (n *fakeNode) handle(ctx context.Context, nc net.Conn, c *mux.ServerCall) {
	n.mu.Lock()
	n.calls = append(n.calls, c.Op())
	before, after := n.before, n.after
	n.mu.Unlock()
	var reply any
	var err error
	if before != nil {
		err = before(ctx, c)
	}
	if err == nil {
		reply, err = n.answer(c)
	}
	if errors.Is(err, errCut) || err == nil && after != nil && after(c) {
		nc.Close()
		return
	}
	if err != nil {
		_ = c.Fail(err)
		return
	}
	_ = c.Reply(reply, nil)
}

var errCut = errors.New("cut the connection")

func (n *fakeNode) answer(c *mux.ServerCall) (any, error) {
	n.mu.Lock()
	lie, lies := n.lies[c.Op()]
	n.mu.Unlock()
	if lies {
		takeAll(c)
		return lie, nil
	}
	switch c.Op() {
	case wire.OpPut:
		return n.put(c)
	case wire.OpRead:
		return n.read(c)
	case wire.OpExtents:
		return n.cell.listExtents(c)
	case wire.OpSession:
		return n.cell.openSession()
	case wire.OpSubmit:
		return n.cell.submit(c)
	case wire.OpWait:
		return n.cell.wait(c)
	case wire.OpOps:
		return n.cell.listOps(c)
	case wire.OpStatus:
		return &wire.Status{Cell: "c", Node: n.id}, nil
	case wire.OpNodes:
		n.cell.mu.Lock()
		defer n.cell.mu.Unlock()
		return &wire.NodesReply{Nodes: slices.Clone(n.cell.nodes)}, nil
	case wire.OpPolicyLoad:
		return loadPolicy(c)
	case wire.OpSetting:
		return nil, nil
	}
	return nil, wire.Errorf(c.Op(), wire.CodeInvalid, "the fake cell does not serve %s", c.Op())
}

// takeAll lets a call that brings chunks come to its end, so that its answer is looked at.
func takeAll(c *mux.ServerCall) {
	if c.Op() != wire.OpPut && c.Op() != wire.OpPolicyLoad {
		return
	}
	for {
		if _, err := c.Recv(); err != nil {
			return
		}
	}
}

func (n *fakeNode) put(c *mux.ServerCall) (any, error) {
	var req wire.PutRequest
	if err := c.Decode(&req); err != nil {
		return nil, err
	}
	all := bytes.Clone(c.Raw())
	if req.Whole {
		n.mu.Lock()
		n.whole++
		n.mu.Unlock()
	}
	for {
		p, err := c.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	n.cell.mu.Lock()
	defer n.cell.mu.Unlock()
	id := max(req.Extent, 1)
	l := wire.Locator{Extent: id, Offset: uint64(len(n.cell.extents[id])), Length: uint64(len(all))}
	n.cell.extents[id] = append(n.cell.extents[id], all...)
	return &l, nil
}

func (n *fakeNode) read(c *mux.ServerCall) (any, error) {
	var req wire.ReadRequest
	if err := c.Decode(&req); err != nil {
		return nil, err
	}
	n.cell.mu.Lock()
	data, ok := n.cell.extents[req.Locator.Extent]
	n.cell.mu.Unlock()
	l := req.Locator
	if req.Whole {
		l.Length = uint64(len(data))
	}
	if !ok || l.Offset+l.Length > uint64(len(data)) {
		return nil, wire.Errorf(wire.OpRead, wire.CodeNotFound, "there is no %s", l)
	}
	n.mu.Lock()
	cutAt := n.cutAt
	n.cutAt = 0
	n.mu.Unlock()
	data = data[l.Offset : l.Offset+l.Length]
	if cutAt > 0 {
		if err := c.Send(data[:cutAt]); err != nil {
			return nil, err
		}
		return nil, errCut
	}
	for p := range slices.Chunk(data, max(1000, len(data)/100)) {
		if err := c.Send(p); err != nil {
			return nil, err
		}
	}
	return &wire.ReadReply{Length: l.Length, Node: n.id}, nil
}

const fakePage = 2

func (cell *fakeCell) listExtents(c *mux.ServerCall) (any, error) {
	var req wire.ExtentsRequest
	if err := c.Decode(&req); err != nil {
		return nil, err
	}
	cell.mu.Lock()
	defer cell.mu.Unlock()
	var reply wire.ExtentsReply
	var ids []uint64
	for id := range cell.extents {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if id < req.From || req.One && id != req.From {
			continue
		}
		if len(reply.Extents) == fakePage {
			reply.Next = id
			break
		}
		e := wire.Extent{ID: id, State: "sealed", Length: uint64(len(cell.extents[id]))}
		for _, n := range cell.nodes {
			e.Replicas = append(e.Replicas, wire.Replica{Node: n.ID, State: "whole"})
		}
		reply.Extents = append(reply.Extents, e)
	}
	return &reply, nil
}

func (cell *fakeCell) openSession() (any, error) {
	cell.mu.Lock()
	defer cell.mu.Unlock()
	cell.next++
	cell.sessions[cell.next] = map[uint64]string{}
	return &wire.SessionReply{Session: cell.next}, nil
}

// expire forgets all sessions.
func (cell *fakeCell) expire() {
	cell.mu.Lock()
	defer cell.mu.Unlock()
	clear(cell.sessions)
}

func (cell *fakeCell) submit(c *mux.ServerCall) (any, error) {
	var req wire.SubmitRequest
	if err := c.Decode(&req); err != nil {
		return nil, err
	}
	cell.mu.Lock()
	defer cell.mu.Unlock()
	var reply wire.SubmitReply
	for _, s := range req.Submit {
		if req.DryRun {
			reply.Results = append(reply.Results, wire.Submitted{Plan: s.Kind})
			continue
		}
		done, ok := cell.sessions[req.Session]
		if !ok {
			reply.Results = append(reply.Results, wire.Submitted{Code: wire.CodeSession, Detail: "expired"})
			continue
		}
		if done[s.Seq] == "" {
			cell.next++
			done[s.Seq] = fmt.Sprint(cell.next)
			cell.ops = append(cell.ops, wire.Op{ID: done[s.Seq], Kind: s.Kind, State: "queued", Extent: s.Extent})
		}
		reply.Results = append(reply.Results, wire.Submitted{Op: done[s.Seq], Extent: s.Extent, Kind: s.Kind})
	}
	return &reply, nil
}

// wait ends one more operation each time it is asked.
func (cell *fakeCell) wait(c *mux.ServerCall) (any, error) {
	var req wire.WaitRequest
	if err := c.Decode(&req); err != nil {
		return nil, err
	}
	cell.mu.Lock()
	defer cell.mu.Unlock()
	var reply wire.OpsReply
	ended := false
	for i := range cell.ops {
		op := &cell.ops[i]
		if !slices.Contains(req.Ops, op.ID) {
			continue
		}
		if !ended && op.State == "queued" {
			op.State, ended = "done", true
		}
		reply.Ops = append(reply.Ops, *op)
	}
	return &reply, nil
}

func (cell *fakeCell) listOps(c *mux.ServerCall) (any, error) {
	var req wire.OpsRequest
	if err := c.Decode(&req); err != nil {
		return nil, err
	}
	cell.mu.Lock()
	defer cell.mu.Unlock()
	at := 1 + slices.IndexFunc(cell.ops, func(op wire.Op) bool { return op.ID == req.After })
	end := min(at+fakePage, len(cell.ops))
	return &wire.OpsReply{Ops: cell.ops[at:end], More: end < len(cell.ops)}, nil
}

func loadPolicy(c *mux.ServerCall) (any, error) {
	var all bytes.Buffer
	for {
		p, err := c.Recv()
		if errors.Is(err, io.EOF) {
			return &wire.Policy{Name: "loaded", Bytes: uint64(all.Len())}, nil
		}
		if err != nil {
			return nil, err
		}
		all.Write(p)
	}
}
