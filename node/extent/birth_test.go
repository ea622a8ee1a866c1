package extent

import (
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// A file knows the birth of the extent that it was made for, through a restart too, and passes for no other.
func TestBirth(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	must(t, s.Create(1, 1, 0xcafe))
	must(t, s.Create(1, 1, 0xcafe))
	wantCode(t, s.Create(1, 1, 0xbeef), CodeExists)
	must(t, s.Create(2, 1, 0)) // as an older build made them
	must(t, s.Append(1, 1, 0, []byte("hello")))
	for range 2 {
		must(t, s.CheckBirth(1, 0xcafe))
		must(t, s.CheckBirth(1, 0))
		wantCode(t, s.CheckBirth(1, 0xbeef), CodeNotFound)
		must(t, s.CheckBirth(2, 0xbeef))
		must(t, s.CheckBirth(99, 0xbeef)) // not there: whoever reads it is told so
		if info, err := s.Stat(1); err != nil || info.Birth != 0xcafe {
			t.Fatalf("extent 1: %+v, %v", info, err)
		}
		must(t, s.Close())
		s, _ = open(t, fs)
	}
	must(t, s.Close())
}

// A copy is of one birth: it does not go on with what was staged of another, and what it takes the place of is kept
// when that was another extent.
func TestStageOfAnotherBirth(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	must(t, s.Create(1, 1, 0xbeef))
	must(t, s.Append(1, 1, 0, []byte("another history's")))
	old, err := s.Stage(1, 2, 0xbeef)
	must(t, err)
	must(t, old.Append([]byte("hello")))
	must(t, old.Close())
	st, err := s.Stage(1, 3, 0xcafe)
	must(t, err)
	if st.Len() != 0 {
		t.Fatalf("goes on with %d bytes of another birth", st.Len())
	}
	must(t, st.Append([]byte("hello")))
	must(t, st.Close())
	st, err = s.Stage(1, 4, 0xcafe)
	must(t, err)
	if st.Len() != 5 {
		t.Fatalf("begins again with %d bytes of the 5 that are its own", st.Len())
	}
	must(t, st.Commit(5, sumOf("hello")))
	must(t, s.CheckBirth(1, 0xcafe))
	wantCode(t, s.CheckBirth(1, 0xbeef), CodeNotFound)
	wantBytes(t, s, 1, []byte("hello"))
	names, err := fs.List(string(s.dir.quarantine()))
	must(t, err)
	if len(names) != 2 {
		t.Fatalf("quarantine holds %v, want the other extent's file and why", names)
	}
	must(t, s.Close())
}
