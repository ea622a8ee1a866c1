package wire

import (
	"fmt"
	"strings"
)

// SumText is a CRC-32C as it is shown.
func SumText(sum uint32) string { return fmt.Sprintf("crc32c:%08x", sum) }

// Clip is at most limit bytes of a text, without what is no UTF-8.
func Clip(s string, limit int) string { return strings.ToValidUTF8(s[:min(len(s), limit)], "") }
