//go:build race

package plugins

// slow is how many times more processor time and memory this program takes for what it does than one without a race
// detector: limits grow with it.
const slow = 20
