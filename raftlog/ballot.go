package raftlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ballot is what a node has promised to others and must not forget, whatever becomes of its log: the term that it is
// in, whom it gave its vote, and whether its log has lost something. It is kept in a file beside the log's folder:
//
//	JSON of a ballot | newline | CRC32C over all before, as 8 hexadecimal digits | newline
type ballot struct {
	Term      uint64      `json:"term"`
	VotedTerm uint64      `json:"voted_term"`
	VotedFor  string      `json:"voted_for"`
	Voters    []string    `json:"voters,omitempty"` // of the group, as far as this node knows
	Abstains  *Abstention `json:"abstains,omitempty"`
}

// Abstention is why a node has no say: its log lacks something that it may have acknowledged.
type Abstention struct {
	Why   string `json:"why"`
	Since string `json:"since"` // RFC 3339
}

const (
	// ballotSuffix follows the name of the log's folder in that of its ballot.
	ballotSuffix   = ".ballot"
	maxBallotBytes = 64 << 10
)

// ballotPath is where the ballot of the log in dir is.
func ballotPath(dir string) string { return filepath.Clean(dir) + ballotSuffix }

func (b *ballot) encode() ([]byte, error) {
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	raw = append(raw, '\n')
	return fmt.Appendf(raw, "%08x\n", crc32.Checksum(raw, castagnoli)), nil
}

func parseBallot(raw []byte) (*ballot, error) {
	const sumBytes = 9
	if len(raw) <= sumBytes || len(raw) > maxBallotBytes {
		return nil, corrupt("a ballot of %d bytes", len(raw))
	}
	body, sum := raw[:len(raw)-sumBytes], string(raw[len(raw)-sumBytes:])
	if want := fmt.Sprintf("%08x\n", crc32.Checksum(body, castagnoli)); sum != want {
		return nil, corrupt("its checksum is %q, want %q", sum, want)
	}
	b := new(ballot)
	if err := json.Unmarshal(body, b); err != nil {
		return nil, corrupt("%s", err.Error())
	}
	return b, nil
}

// readBallot reads a ballot, nil where there is none. A *CorruptError where it is not what was written.
func readBallot(path string) (*ballot, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := parseBallot(raw)
	if bad := (*CorruptError)(nil); errors.As(err, &bad) {
		bad.File = path
	}
	return b, err
}

// write replaces the file in one step. Where two files can change places, the old one stays beside it to be written
// over the next time: so a node whose disk is full can still give its vote.
func (b *ballot) write(path string) error {
	raw, err := b.encode()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY, filePerm)
	if err != nil {
		return err
	}
	if _, err = f.Write(raw); err == nil {
		err = f.Truncate(int64(len(raw)))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if exchange(path+".new", path) != nil { // there is no old one yet, or the file system cannot
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// others reports whether somebody else in the group could make this node's log whole.
func (b *ballot) others(self string) bool {
	return slices.ContainsFunc(b.Voters, func(v string) bool { return v != self })
}

// ballotBox keeps the ballot while a node runs. A nil one keeps nothing: logs in memory have none. Its methods may
// be called from any goroutine.
type ballotBox struct {
	path string

	mu  sync.Mutex
	now ballot // under mu; as it is in the file
}

// change writes a changed ballot. Its error leaves what is in the file unknown.
func (x *ballotBox) change(change func(*ballot)) error {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	next := x.now
	change(&next)
	if err := next.write(x.path); err != nil {
		return fmt.Errorf("write %s: %w", x.path, err)
	}
	x.now = next
	return nil
}

// others is that of the ballot.
func (x *ballotBox) others(self string) bool {
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.now.others(self)
}

// note keeps one value of the engine's.
func (x *ballotBox) note(key string, number uint64, text string) error {
	return x.change(func(b *ballot) {
		switch key {
		case keyTerm:
			b.Term = number
		case keyVotedTerm:
			b.VotedTerm = number
		case keyVotedFor:
			b.VotedFor = text
		}
	})
}

// noteVoters keeps who the voters are.
func (x *ballotBox) noteVoters(voters []string) error {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	same := slices.Equal(x.now.Voters, voters)
	x.mu.Unlock()
	if same {
		return nil
	}
	return x.change(func(b *ballot) { b.Voters = voters })
}

// abstention is why this node has no say, nil while it has one.
func (x *ballotBox) abstention() *Abstention {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.now.Abstains
}
