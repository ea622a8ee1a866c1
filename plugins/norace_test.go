//go:build !race

package plugins

// slow is how many times more processor time than usual this program takes for what it does.
const slow = 1
