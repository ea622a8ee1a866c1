package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxLocatorBytes is the longest locator: three numbers of 20 digits and what is between them. It
// bounds what an error message repeats.
const maxLocatorBytes = 3*20 + 2

// String is EXTENT:OFFSET+LENGTH, the form that ParseLocator reads.
func (l Locator) String() string { return string(AppendLocator(nil, l)) }

// AppendLocator appends l as EXTENT:OFFSET+LENGTH.
func AppendLocator(buf []byte, l Locator) []byte {
	buf = strconv.AppendUint(buf, l.Extent, 10)
	buf = append(buf, ':')
	buf = strconv.AppendUint(buf, l.Offset, 10)
	buf = append(buf, '+')
	return strconv.AppendUint(buf, l.Length, 10)
}

// ParseLocator reads EXTENT:OFFSET+LENGTH, three decimal numbers without spaces or signs. Only what
// String writes is accepted, so that a locator has one spelling and can be compared as text.
func ParseLocator(s string) (Locator, error) {
	extent, rest, colon := strings.Cut(s, ":")
	offset, length, plus := strings.Cut(rest, "+")
	if !colon || !plus {
		return Locator{}, locatorError(s, "want EXTENT:OFFSET+LENGTH")
	}
	var l Locator
	for _, part := range []struct {
		name, text string
		value      *uint64
	}{{"extent", extent, &l.Extent}, {"offset", offset, &l.Offset}, {"length", length, &l.Length}} {
		n, err := strconv.ParseUint(part.text, 10, 64)
		if err != nil || strconv.FormatUint(n, 10) != part.text {
			return Locator{}, locatorError(s, "its "+part.name+" is not a plain number")
		}
		*part.value = n
	}
	switch {
	case l.Extent == 0:
		return Locator{}, locatorError(s, "extents are numbered from 1")
	case l.Length > math.MaxUint64-l.Offset:
		return Locator{}, locatorError(s, "it ends beyond 2^64 bytes")
	}
	return l, nil
}

func locatorError(s, why string) error {
	if len(s) > maxLocatorBytes {
		s = s[:maxLocatorBytes] + "…"
	}
	return fmt.Errorf("%q is not a locator: %s; a locator looks like 12:4096+512", s, why)
}
