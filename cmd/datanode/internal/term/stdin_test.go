package term

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestStdinIsReadInOrder(t *testing.T) {
	text := strings.Repeat("0123456789", pipeChunk/4)
	a := &Terminal{Stdin: iotest.OneByteReader(strings.NewReader(text[:1000]))}
	if got, err := io.ReadAll(a.Input(t.Context())); err != nil || string(got) != text[:1000] {
		t.Errorf("byte by byte: %v, read %d bytes of %d or others", err, len(got), 1000)
	}
	a.Stdin = iotest.DataErrReader(strings.NewReader(text))
	if got, err := io.ReadAll(a.Input(t.Context())); err != nil || string(got) != text {
		t.Errorf("in chunks: %v, read %d bytes of %d or others", err, len(got), len(text))
	}
}
