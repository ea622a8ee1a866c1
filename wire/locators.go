package wire

import (
	"fmt"
	"math"
	"strings"
)

// Locators name the parts of what was cut when it was stored, in order.
type Locators []Locator

// String is what ParseLocators reads: the locators with commas between them.
func (ls Locators) String() string {
	var buf []byte
	for i, l := range ls {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = AppendLocator(buf, l)
	}
	return string(buf)
}

// ParseLocators reads one locator, or several with a comma between them and nothing else. They name less than 2^63
// bytes together.
func ParseLocators(s string) (Locators, error) {
	var ls Locators
	left := uint64(math.MaxInt64)
	for text := range strings.SplitSeq(s, ",") {
		l, err := ParseLocator(text)
		if err != nil {
			return nil, err
		}
		if l.Length > left {
			return nil, fmt.Errorf("with %s the locators name more than 2^63 bytes", l)
		}
		left -= l.Length
		ls = append(ls, l)
	}
	return ls, nil
}

// Length is how many bytes they name together.
func (ls Locators) Length() uint64 {
	n := uint64(0)
	for _, l := range ls {
		n += l.Length
	}
	return n
}

// Range names length bytes from offset on of what ls name together. It reports false if they do not go as far.
func (ls Locators) Range(offset, length uint64) (Locators, bool) {
	if all := ls.Length(); offset > all || length > all-offset {
		return nil, false
	}
	var out Locators
	for _, l := range ls {
		if offset >= l.Length {
			offset -= l.Length
			continue
		}
		l.Offset, l.Length = l.Offset+offset, min(l.Length-offset, length)
		if l.Length == 0 {
			break
		}
		out = append(out, l)
		offset, length = 0, length-l.Length
	}
	return out, true
}
