#!/usr/bin/env bash
# Linux 6.18, ext4 and xfs (xfsprogs 6.1): who reads a file and gives each piece back to the page cache at once with
# posix_fadvise(POSIX_FADV_DONTNEED) fills the cache with it all the same. On btrfs (btrfs-progs 6.2) it is as
# expected.
#
# Expected: the way that is usual for backups, scrubs and copies: read a piece, say DONTNEED of that piece, go on. The
# cache should then have little more of the file than the kernel read ahead.
# Seen: of 64 MiB read in pieces of 64 KiB, 62 MiB are in the cache at the end, on ext4 and xfs; on btrfs nothing. The
# calls return 0. The kernel drops a folio only if the range covers all of it, and what it reads ahead comes in folios
# that begin in one piece and end in another. Three ways around it were tried: to tell POSIX_FADV_RANDOM before (then
# nothing is read ahead), to name the range from 0 on each time, or one that begins 4 MiB before the piece.
# Why it matters: a scrub of a whole disk pushes out of the cache what clients read all the time, though it was written
# so that it would not; and that it works on one file system says nothing about the next.
#
# Needs root (loop devices), Linux 6.5 or newer (cachestat), Python 3, mkfs.ext4, mkfs.xfs and mkfs.btrfs (apt:
# e2fsprogs xfsprogs btrfs-progs); all stays in a temporary folder. Prints what happens; exit 1 when the behaviour is
# another.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir"/*.mnt 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
cat >read.py <<'PY'
import ctypes, os, sys

libc = ctypes.CDLL(None, use_errno=True)
SIZE, PIECE, BACK = 64 << 20, 64 << 10, 4 << 20
CACHESTAT = 451  # the same number on every machine


def cached_kib(fd):
    where, pages = (ctypes.c_uint64 * 2)(0, SIZE), (ctypes.c_uint64 * 5)()
    if libc.syscall(CACHESTAT, fd, where, pages, 0):
        raise OSError(ctypes.get_errno(), "cachestat")
    return pages[0] * os.sysconf("SC_PAGE_SIZE") >> 10


def left(fd, advice, begin):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert cached_kib(fd) == 0, "the file cannot be dropped as a whole"
    os.posix_fadvise(fd, 0, 0, advice)
    for at in range(0, SIZE, PIECE):
        os.pread(fd, PIECE, at)
        start = begin(at)
        os.posix_fadvise(fd, start, at + PIECE - start, os.POSIX_FADV_DONTNEED)
    return cached_kib(fd)


fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for _ in range(SIZE >> 20):
    os.write(fd, os.urandom(1 << 20))
os.fsync(fd)
plain = left(fd, os.POSIX_FADV_NORMAL, lambda at: at)
around = [
    left(fd, os.POSIX_FADV_RANDOM, lambda at: at),
    left(fd, os.POSIX_FADV_NORMAL, lambda at: 0),
    left(fd, os.POSIX_FADV_NORMAL, lambda at: max(0, at - BACK)),
]
print(f"{sys.argv[2]:6} KiB of {SIZE >> 10} in the cache: {plain:5} each piece, {around[0]:5} with RANDOM,"
      f" {around[1]:5} from 0 on, {around[2]:5} from 4 MiB before")
kept = plain > SIZE >> 11  # more than half
sys.exit(kept != (sys.argv[2] != "btrfs") or max(around) > SIZE >> 14)
PY
bad=0
for fs in ext4 xfs btrfs; do
	mkdir $fs.mnt
	truncate -s 600M $fs.img
	mkfs.$fs -q $fs.img >/dev/null 2>&1
	mount -o loop $fs.img $fs.mnt
	python3 read.py $fs.mnt/extent $fs || bad=1
done
[ $bad = 0 ] || { echo "this is not what was seen"; exit 1; }
