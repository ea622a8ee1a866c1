//go:build !wasip1

package guest

// Config is the configured value of key; outside of a module none is.
func Config(key string) (value string, ok bool) { return "", false }

// Log does nothing outside of a module.
func Log(text string) {}

// Count does nothing outside of a module.
func Count(name string, delta int64) {}
