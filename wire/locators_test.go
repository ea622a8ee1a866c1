package wire

import (
	"strings"
	"testing"
)

func TestLocators(t *testing.T) {
	for _, s := range []string{"1:0+5", "1:0+5,1:5+0,9:7+3@0000000a"} {
		ls, err := ParseLocators(s)
		if err != nil || ls.String() != s {
			t.Errorf("%s: read as %s, %v", s, ls, err)
		}
	}
	for _, s := range []string{"", ",", "1:0+5,", ",1:0+5", "1:0+5, 2:0+5", "1:0+5,12",
		"1:0+9223372036854775807,2:0+1", "1:0+9223372036854775808"} {
		if ls, err := ParseLocators(s); err == nil {
			t.Errorf("%q was read as %s", s, ls)
		}
	}
}

// A range of what several locators name begins and ends anywhere: at a border, across some, nowhere.
func TestLocatorsRange(t *testing.T) {
	ls, err := ParseLocators("1:10+4,2:0+0,3:0+1,4:6+5@0000000a")
	if err != nil {
		t.Fatal(err)
	}
	var all []string // each byte by itself
	for _, l := range ls {
		for i := range l.Length {
			all = append(all, Locator{Extent: l.Extent, Offset: l.Offset + i, Length: 1, Birth: l.Birth}.String())
		}
	}
	end := uint64(len(all))
	for offset := uint64(0); offset <= end+1; offset++ {
		for length := uint64(0); length <= end+1; length++ {
			got, ok := ls.Range(offset, length)
			if want := offset+length <= end; ok != want || !ok && got != nil {
				t.Errorf("%d+%d: %v, %s, want %v", offset, length, ok, got, want)
			}
			if !ok {
				continue
			}
			var each []string
			for _, l := range got {
				if l.Length == 0 {
					t.Errorf("%d+%d: %s names nothing", offset, length, l)
				}
				for i := range l.Length {
					each = append(each, Locator{Extent: l.Extent, Offset: l.Offset + i, Length: 1, Birth: l.Birth}.String())
				}
			}
			if got, want := strings.Join(each, " "), strings.Join(all[offset:offset+length], " "); got != want {
				t.Errorf("%d+%d: %s, want %s", offset, length, got, want)
			}
		}
	}
	if _, ok := ls.Range(1, 1<<64-1); ok {
		t.Error("a length that goes round is taken")
	}
}
