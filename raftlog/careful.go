package raftlog

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// careful believes nothing that a store says: what is written is checked first, what is read is checked against its
// checksum, and a panic of the store, which reads its file as memory and panics or faults where that is
// damaged, is an error. Every way to the stored log goes through it.
type careful struct {
	raft.LogStore
	raft.StableStore
	file string // for messages
}

// rescue makes an error of a panic of the store. To be deferred with what catch answered.
func (s *careful) rescue(doing string, err *error, faults bool) {
	debug.SetPanicOnFault(faults)
	if r := recover(); r != nil {
		*err = &CorruptError{File: s.file, Detail: fmt.Sprintf("%s: the store gave up: %v", doing, r)}
	}
}

// catch has faults in this goroutine end in a panic.
func catch() (before bool) { return debug.SetPanicOnFault(true) }

func (s *careful) FirstIndex() (index uint64, err error) {
	defer s.rescue("find the first entry", &err, catch())
	return s.LogStore.FirstIndex()
}

func (s *careful) LastIndex() (index uint64, err error) {
	defer s.rescue("find the last entry", &err, catch())
	return s.LogStore.LastIndex()
}

// GetLog reads an entry. Its errors are ErrLogNotFound, those of the store and *CorruptError.
func (s *careful) GetLog(index uint64, l *raft.Log) error {
	err := s.get(index, l)
	switch bad := (*CorruptError)(nil); {
	case err == nil && l.Index != index:
		return &CorruptError{Index: state.Index(index), File: s.file, Detail: fmt.Sprintf("it says it is entry %d", l.Index)}
	case err == nil:
		if err = checkRecord(l); errors.As(err, &bad) {
			bad.File = s.file
		}
	case errors.As(err, &bad):
		bad.Index = state.Index(index)
	}
	return err
}

func (s *careful) get(index uint64, l *raft.Log) (err error) {
	defer s.rescue("read it", &err, catch())
	return s.LogStore.GetLog(index, l)
}

func (s *careful) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs checks entries before it stores them. Those without a seal get one: this node's own, and those of leaders
// of an older build.
func (s *careful) StoreLogs(logs []*raft.Log) (err error) {
	for _, l := range logs {
		if err := checkRecord(l); err != nil {
			return &unsoundError{err}
		}
		if _, sealed := splitBase(l.Extensions); len(sealed) == 0 {
			seal(l)
		}
	}
	defer s.rescue("append", &err, catch())
	return s.LogStore.StoreLogs(logs)
}

func (s *careful) DeleteRange(low, high uint64) (err error) {
	defer s.rescue("cut it", &err, catch())
	return s.LogStore.DeleteRange(low, high)
}

func (s *careful) Get(key []byte) (value []byte, err error) {
	defer s.rescue("read the vote", &err, catch())
	return s.StableStore.Get(key)
}

func (s *careful) GetUint64(key []byte) (value uint64, err error) {
	defer s.rescue("read the term", &err, catch())
	return s.StableStore.GetUint64(key)
}

func (s *careful) Set(key, value []byte) (err error) {
	defer s.rescue("write the vote", &err, catch())
	return s.StableStore.Set(key, value)
}

func (s *careful) SetUint64(key []byte, value uint64) (err error) {
	defer s.rescue("write the term", &err, catch())
	return s.StableStore.SetUint64(key, value)
}

// unsoundError says that entries were refused before they were stored. The store is as it was.
type unsoundError struct{ error }

func (e *unsoundError) Unwrap() error { return e.error }
