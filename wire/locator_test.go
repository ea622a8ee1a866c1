package wire

import (
	"math"
	"strings"
	"testing"
)

func TestLocatorText(t *testing.T) {
	for text, want := range map[string]Locator{
		"1:0+0":                    {Extent: 1},
		"12:4096+512":              {Extent: 12, Offset: 4096, Length: 512},
		"18446744073709551615:0+1": {Extent: math.MaxUint64, Length: 1},
		"7:18446744073709551614+1": {Extent: 7, Offset: math.MaxUint64 - 1, Length: 1},
		"1:0+0@00000001":           {Extent: 1, Birth: 1},
		"12:4096+512@3f2a91c0":     {Extent: 12, Offset: 4096, Length: 512, Birth: 0x3f2a91c0},
		"2:0+1@ffffffff":           {Extent: 2, Length: 1, Birth: math.MaxUint32},
		"18446744073709551615:9223372036854775807+9223372036854775807": {Extent: math.MaxUint64, Offset: math.MaxInt64,
			Length: math.MaxInt64},
	} {
		got, err := ParseLocator(text)
		if err != nil || got != want {
			t.Errorf("ParseLocator(%q) = %+v, %v; want %+v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%+v is written %q, want %q", got, got, text)
		}
	}
}

// A locator has one spelling; all else is refused with a message that shows it.
func TestLocatorRefused(t *testing.T) {
	for _, text := range []string{
		"", "12", "12:3", "12+3", ":+", "0:0+1", "1:-1+1", "1:+1+1", "01:0+1", "1:0+1 ", " 1:0+1", "1:0x10+1",
		"1:1_000+1", "1:0+18446744073709551616", "1:1+18446744073709551615", "1:2+3+4", "1:2:3+4",
		"12:4096+512@", "12:4096+512@0", "12:4096+512@00000000", "12:4096+512@3F2A91C0", "12:4096+512@3f2a91c",
		"12:4096+512@03f2a91c0", "12:4096+512@13f2a91c0", "12:4096+512@+f2a91c0", "12:4096+512@3f2a91c0@3f2a91c0",
		"12:4096+512 @3f2a91c0", "12@3f2a91c0", "@3f2a91c0", "12@3f2a91c0:4096+512",
		strings.Repeat("9", 60) + ":1+1@3f2a91c0",
		"/etc/passwd", strings.Repeat("9", 1000),
	} {
		l, err := ParseLocator(text)
		if err == nil {
			t.Errorf("ParseLocator(%q) = %+v, want an error", text, l)
			continue
		}
		if msg := err.Error(); !strings.Contains(msg, "12:4096+512") || len(msg) > 250 {
			t.Errorf("ParseLocator(%.20q): %q does not show what a locator looks like, or is long", text, msg)
		}
	}
}

func FuzzParseLocator(f *testing.F) {
	for _, s := range []string{"1:0+0", "12:4096+512", "1:1+18446744073709551615", "::++", "00:0+0",
		"12:4096+512@3f2a91c0", "1:0+0@0", "@@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLocator(s)
		if err == nil && l.String() != s {
			t.Fatalf("ParseLocator(%q) = %+v, which is written %q", s, l, l)
		}
	})
}
