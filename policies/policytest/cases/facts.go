package cases

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/policies"
)

// factFields are the fields of a case by name, and how their values are read.
var factFields = map[string]func(f *policies.Facts, value string) error{
	"phase":    func(f *policies.Facts, v string) error { return word(&f.Phase, v, phases) },
	"by":       func(f *policies.Facts, v string) error { return word(&f.Origin, v, origins) },
	"attempts": func(f *policies.Facts, v string) error { return number(&f.Attempts, v, 8) },
	"index":    func(f *policies.Facts, v string) error { return number(&f.OpIndex, v, 64) },
	"place":    func(f *policies.Facts, v string) error { return number(&f.OpPlace, v, 32) },
	"extent":   func(f *policies.Facts, v string) error { return number(&f.Extent, v, 64) },
	"class":    class,
	"length":   func(f *policies.Facts, v string) error { return number(&f.LengthBytes, v, 64) },
	"live":     func(f *policies.Facts, v string) error { return number(&f.LiveReplicas, v, 8) },
	"want":     func(f *policies.Facts, v string) error { return number(&f.WantReplicas, v, 8) },
	"now":      now,
	"waiting":  func(f *policies.Facts, v string) error { return micros(&f.WaitingMicros, v) },
	"queued":   func(f *policies.Facts, v string) error { return number(&f.QueuedOps, v, 32) },
	"running":  func(f *policies.Facts, v string) error { return number(&f.RunningOps, v, 32) },
	"same":     func(f *policies.Facts, v string) error { return number(&f.RunningSame, v, 32) },
}

var (
	phases  = []string{"", "incoming", "queued", "running"}
	origins = []string{"", "user", "cell", "decommission"}
)

// Words that stand alone in a case.
const (
	wordOpen     = "open"
	wordSameNode = "same-node"
)

// parseFacts reads a kind and the fields behind it. What is not said is as for an operation of a user
// on a sealed extent of one MiB with three live copies out of three.
func parseFacts(words []string, phase policies.Phase, inPair bool) (f policies.Facts, sameNode bool, err error) {
	if len(words) == 0 {
		return f, false, errors.New("no kind of operation")
	}
	kind, ok := policies.ParseKind(words[0])
	if !ok {
		return f, false, fmt.Errorf("%q is no kind of operation; there are %s", words[0], strings.Join(kindWords(), ", "))
	}
	f = policies.Facts{Kind: kind, Phase: phase, Origin: policies.OriginUser, NowMicros: 1_700_000_000_000_000}
	if kind != policies.KindDecommission && kind != policies.KindRecommission {
		f.Extent, f.LengthBytes, f.LiveReplicas, f.WantReplicas = 1, 1<<20, 3, 3
	}
	if phase != policies.PhaseIncoming {
		f.OpIndex = 1
	}
	for _, w := range words[1:] {
		name, value, assigned := strings.Cut(w, "=")
		switch set := factFields[name]; {
		case w == wordOpen:
			f.ExtentOpen, f.LengthBytes = true, 0
		case w == wordSameNode && inPair:
			sameNode = true
		case !assigned || set == nil:
			return f, false, fmt.Errorf("%q is no field of the facts; there are %s", w, strings.Join(fieldWords(inPair), ", "))
		default:
			if err := set(&f, value); err != nil {
				return f, false, fmt.Errorf("%s: %w", w, err)
			}
		}
	}
	return f, sameNode, nil
}

// kindWords are the kinds of operations, in the order of their numbers.
func kindWords() []string {
	var words []string
	for kind := policies.KindCreate; kind <= policies.KindRecommission; kind++ {
		words = append(words, kind.String())
	}
	return words
}

// fieldWords are all that can stand behind a kind.
func fieldWords(inPair bool) []string {
	words := []string{wordOpen}
	if inPair {
		words = append(words, wordSameNode)
	}
	for name := range factFields {
		words = append(words, name+"=")
	}
	slices.Sort(words)
	return words
}

func parsePair(words []string) (p policies.Pair, err error) {
	bar := slices.Index(words, "|")
	if bar < 0 {
		return p, errors.New("a conflict needs two operations with | between them")
	}
	var here, there bool
	if p.Existing, here, err = parseFacts(words[:bar], policies.PhaseQueued, true); err != nil {
		return p, err
	}
	p.Incoming, there, err = parseFacts(words[bar+1:], policies.PhaseIncoming, true)
	p.SameNode = here || there
	return p, err
}

func number[T ~uint8 | ~uint32 | ~uint64](to *T, value string, bits int) error {
	n, err := strconv.ParseUint(value, 10, bits)
	if err != nil {
		return fmt.Errorf("want a number of %d bits", bits)
	}
	*to = T(n)
	return nil
}

func word[T ~uint8](to *T, value string, words []string) error {
	i := slices.Index(words, value)
	if i < 1 {
		return fmt.Errorf("want one of %s", strings.Join(words[1:], ", "))
	}
	*to = T(i)
	return nil
}

func micros(to *int64, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil {
		return errors.New("want a duration such as 90s or 10m")
	}
	*to = d.Microseconds()
	return nil
}

func now(f *policies.Facts, value string) error {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return errors.New("want a time such as 2024-05-01T12:00:00Z")
	}
	f.NowMicros = t.UnixMicro()
	return nil
}

func class(f *policies.Facts, value string) error {
	if len(value) > policies.ClassBytes {
		return fmt.Errorf("%d bytes, the most is %d", len(value), policies.ClassBytes)
	}
	f.Class = [policies.ClassBytes]byte{}
	copy(f.Class[:], value)
	return nil
}
