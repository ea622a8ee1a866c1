package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// birthDigits is how a birth is written: as so many hexadecimal digits.
	birthDigits = 8
	// maxLocatorBytes is the longest locator: three numbers of 20 digits, a birth, and what is between them. It
	// bounds what an error message repeats.
	maxLocatorBytes = 3*20 + 2 + 1 + birthDigits
)

// String is EXTENT:OFFSET+LENGTH@BIRTH, without @BIRTH where that is not known: the forms that ParseLocator reads.
func (l Locator) String() string { return string(AppendLocator(nil, l)) }

// AppendLocator appends l as String writes it.
func AppendLocator(buf []byte, l Locator) []byte {
	buf = strconv.AppendUint(buf, l.Extent, 10)
	buf = append(buf, ':')
	buf = strconv.AppendUint(buf, l.Offset, 10)
	buf = append(buf, '+')
	buf = strconv.AppendUint(buf, l.Length, 10)
	if l.Birth == 0 {
		return buf
	}
	return append(append(buf, '@'), BirthText(l.Birth)...)
}

// BirthText is a birth in eight lower-case hexadecimal digits; empty for 0, which is none.
func BirthText(birth uint32) string {
	if birth == 0 {
		return ""
	}
	return fmt.Sprintf("%0*x", birthDigits, birth)
}

// ParseLocator reads EXTENT:OFFSET+LENGTH or EXTENT:OFFSET+LENGTH@BIRTH: three decimal numbers without spaces or
// signs, and eight lower-case hexadecimal digits. Only what String writes is accepted, so that a locator has one
// spelling and can be compared as text. One without a birth is for whoever types a range by hand.
func ParseLocator(s string) (Locator, error) {
	numbers, birth, born := strings.Cut(s, "@")
	extent, rest, colon := strings.Cut(numbers, ":")
	offset, length, plus := strings.Cut(rest, "+")
	if !colon || !plus {
		return Locator{}, locatorError(s, "want EXTENT:OFFSET+LENGTH@BIRTH, or without @BIRTH")
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
	if born {
		n, err := strconv.ParseUint(birth, 16, 32)
		if l.Birth = uint32(n); err != nil || BirthText(l.Birth) != birth {
			return Locator{}, locatorError(s, "the birth after its @ is not eight digits of 0-9 and a-f, or is none")
		}
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
	return fmt.Errorf("%q is not a locator: %s; a locator looks like 12:4096+512@3f2a91c0", s, why)
}
