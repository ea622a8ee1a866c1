package wire

import "bytes"

// hostileBodies are what tests and fuzzing begin with, by name.
func hostileBodies() map[string][]byte {
	nested := bytes.Repeat([]byte{0x91}, MaxDepth+1)
	wide := append([]byte{0x93, 0xa1, 'a', 1, 0xdd, 0, 0, 0xff, 0xff}, bytes.Repeat([]byte{codeNil}, 0xffff)...)
	return map[string][]byte{
		"nested":                        nested,
		"deep":                          append(bytes.Clone(nested), 0),
		"array of more than there is":   {0xdd, 0, 0, 0, 9},
		"map of more than there is":     {0xdf, 0, 0, 0, 9, 0},
		"map within an array":           {0x91, 0xdf, 0, 0, 0, 9},
		"string of more than there is":  {0xdb, 0, 0, 0, 9, 'a'},
		"extension":                     {0xd4, 0, 0},
		"integer too large":             {0x92, 0xa0, 0xcf, 1, 0, 0, 0, 0, 0, 0, 0},
		"slice of nothing":              wide,
		"trailing byte":                 {0x90, 0},
		"an integer":                    {1},
		"map that repeats its only key": {0x82, 0xa1, 'a', 1, 0xa1, 'a', 2},
	}
}
