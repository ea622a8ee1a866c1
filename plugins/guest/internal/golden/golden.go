// Package golden reads golden.txt: batches as hosts of several ages write them, what a policy must
// see in them, and what it must answer. Every binding is tested against it.
package golden

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Batch is one batch.
type Batch struct {
	Title    string
	Conflict bool // a conflict batch; else a score batch
	Bytes    []byte
	Count    int     // of records
	Told     []Value // what an echo policy tells the host, one after the other
	Answers  []byte
}

// Value is one fact that a policy has seen. The class tag is text, all others are numbers; those that
// do not fit an int64 wrap around.
type Value struct {
	Name   string
	Number int64
	Text   string // in hex
}

func (v Value) String() string {
	if v.Text != "" {
		return v.Name + "=" + v.Text
	}
	return v.Name + "=" + strconv.FormatInt(v.Number, 10)
}

// Parse reads the batches of a file.
func Parse(text []byte) ([]Batch, error) {
	var all []Batch
	title := ""
	for n, line := range strings.Split(string(text), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		var err error
		switch {
		case line == "":
		case word == "#":
			title = rest
		case word == "batch":
			all = append(all, Batch{Title: title, Conflict: rest == "conflict"})
		case len(all) == 0:
			err = fmt.Errorf("%q stands before the first batch", line)
		default:
			err = all[len(all)-1].line(word, rest)
		}
		if err != nil {
			return nil, fmt.Errorf("golden: line %d: %w", n+1, err)
		}
	}
	return all, nil
}

func (b *Batch) line(word, rest string) (err error) {
	switch word {
	case "header", "": // a line that begins with a space goes on with the record
		b.Bytes, err = appendHex(b.Bytes, rest)
	case "record":
		b.Count++
		b.Bytes, err = appendHex(b.Bytes, rest)
	case "answer":
		b.Answers, err = appendHex(b.Answers, rest)
	case "same", "facts":
		for field := range strings.FieldsSeq(rest) {
			v, failed := parseValue(field)
			if failed != nil {
				return failed
			}
			b.Told = append(b.Told, v)
		}
	default:
		err = fmt.Errorf("%q is none of header, record, same, facts and answer", word)
	}
	return err
}

func appendHex(to []byte, text string) ([]byte, error) {
	return hex.AppendDecode(to, []byte(strings.ReplaceAll(text, " ", "")))
}

func parseValue(field string) (Value, error) {
	name, text, _ := strings.Cut(field, "=")
	if name == "class" {
		return Value{Name: name, Text: text}, nil
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return Value{Name: name, Number: int64(u)}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return Value{Name: name, Number: n}, err
}

// Compare says where what a policy told and answered differs from what the batch wants; nil if nowhere.
func (b *Batch) Compare(told []Value, answers []byte) error {
	for i, want := range b.Told {
		if i >= len(told) {
			return fmt.Errorf("%s It told %d values, want %d: %v is missing", b.Title, len(told), len(b.Told), want)
		}
		if told[i] != want {
			return fmt.Errorf("%s It told %v, want %v", b.Title, told[i], want)
		}
	}
	if len(told) > len(b.Told) {
		return fmt.Errorf("%s It told %v, which nobody asked for", b.Title, told[len(b.Told)])
	}
	if string(answers) != string(b.Answers) {
		return fmt.Errorf("%s It answered\n%x, want\n%x", b.Title, answers, b.Answers)
	}
	return nil
}
