package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// The bodies that these tests refuse are just beyond our own bounds: whoever feeds one to the bare decoder must get an
// answer, without waiting or running out of memory.
const (
	bareEnv       = "DATANODE_TEST_BARE_DECODER"
	bareData      = 512 << 20 // what the child may have before it is killed
	bareAllocated = 64 << 20
	bareSeconds   = 2 // of processor time, for all types together
)

// TestActAsBareDecoder is no test: it is what the processes of the next one run. It decodes what is on its standard
// input with nothing around the decoder but limits, into every type that there is, and says what the most took.
func TestActAsBareDecoder(t *testing.T) {
	if os.Getenv(bareEnv) == "" {
		return
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		t.Fatal(err)
	}
	for limit, n := range map[int]uint64{syscall.RLIMIT_DATA: bareData, syscall.RLIMIT_CPU: bareSeconds} {
		if err := syscall.Setrlimit(limit, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			t.Fatal(err)
		}
	}
	into := append(slices.Clone(bodies), made[oldMessage], made[newMessage], made[newWide], made[any], made[string])
	most := uint64(0)
	for _, of := range into {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = msgpack.Unmarshal(body, of()) // an error is an answer
		runtime.ReadMemStats(&after)
		most = max(most, after.TotalAlloc-before.TotalAlloc)
	}
	fmt.Println("took", most)
}

// Every body that is refused here is harmless to the bare decoder.
func TestHostileBodiesAreHarmless(t *testing.T) {
	all := hostileBodies()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestActAsBareDecoder$")
		cmd.Env = append(os.Environ(), bareEnv+"=1")
		cmd.Stdin = bytes.NewReader(all[name])
		said, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(said), "took ")
		digits, _, _ := strings.Cut(rest, "\n")
		taken, unsaid := strconv.ParseUint(digits, 10, 64)
		t.Logf("%-30s %6d bytes: %d KiB, %v", name, len(all[name]), taken>>10, cmd.ProcessState.UserTime())
		if err != nil || unsaid != nil || taken > bareAllocated {
			t.Errorf("%s, %d bytes: %v, %d bytes allocated: %.300s", name, len(all[name]), err, taken, said)
		}
	}
}
