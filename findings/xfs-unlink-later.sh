#!/usr/bin/env bash
# Linux 6.18, xfs (xfsprogs 6.1): after unlink has returned, statfs calls the room of the file taken still, for as long
# as it takes to free its extents, and fallocate can have it at once. ext4 and btrfs (btrfs-progs 6.2) free it first.
#
# Expected: a file that nobody has open is gone when unlink returns, and its room is free, or is once the folder or the
# file system is synced. What statfs calls taken cannot be had.
# Seen: of a deleted file with 25,000 extents nothing, or a small part, is free at once; an fsync of the folder and a
# syncfs wait for nothing and change little; all of it is free a quarter of a second to more than a second later, when
# a thread of the kernel has freed the extents. On a full disk, fallocate of 90 MiB succeeds while statfs says that
# some 10 MiB are free: it waits for that thread. Truncating the file to 0, or punching all of it, before unlink frees
# it at once.
# Why it matters: a store that deletes to make room, and asks statfs whether there is some, is told that deleting did
# not help: it deletes more, or refuses writes that would succeed. What a delete has freed cannot be counted by statfs
# before and after. Files with many extents, which appends and punches make, take longest.
#
# Needs root (loop devices), Python 3, mkfs.ext4, mkfs.xfs and mkfs.btrfs (apt: e2fsprogs xfsprogs btrfs-progs); all
# stays in a temporary folder. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir"/*.mnt 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
cat >unlink.py <<'PY'
import os, sys, time

folder, kind = sys.argv[1:]
EXTENTS, BLOCK = 25000, 4096


def free_mib():
    s = os.statvfs(folder)
    return s.f_bavail * s.f_frsize / (1 << 20)


def settled():
    seen, at = -1, time.monotonic()
    while time.monotonic() - at < 2:  # it has not changed for two seconds
        if (now := free_mib()) != seen:
            seen, at = now, time.monotonic()
        time.sleep(0.05)
    return seen


def scattered():
    fd = os.open(folder + "/deleted", os.O_RDWR | os.O_CREAT)
    for i in range(EXTENTS):
        os.pwrite(fd, b"x" * BLOCK, 2 * i * BLOCK)
    os.ftruncate(fd, 2 * EXTENTS * BLOCK)
    os.fsync(fd)
    os.close(fd)


fd = os.open(folder, os.O_RDONLY)
before = settled()
scattered()
full = settled()
os.unlink(folder + "/deleted")
os.fsync(fd)
at_once = free_mib()
after = settled()
freed = (at_once - full) / (after - full)

scattered()
settled()
fill = os.open(folder + "/fill", os.O_RDWR | os.O_CREAT)
os.posix_fallocate(fill, 0, int(free_mib() - 4) << 20)
os.unlink(folder + "/deleted")
said = free_mib()
new = os.open(folder + "/new", os.O_RDWR | os.O_CREAT)
os.posix_fallocate(new, 0, 90 << 20)  # an error ends the script
print(f"{kind:5}  {full:.0f} MiB free, {after:.0f} without the file; at once after unlink and fsync {at_once:.0f};"
      f" on a full disk statfs says {said:.0f} and 90 can be had")
late = freed < 0.5 and said < 80
sys.exit(late != (kind == "xfs"))
PY
bad=0
for fs in ext4 xfs btrfs; do
	mkdir $fs.mnt
	truncate -s 600M $fs.img
	mkfs.$fs -q $fs.img >/dev/null 2>&1
	mount -o loop $fs.img $fs.mnt
	python3 unlink.py $fs.mnt $fs || bad=1
done
[ $bad = 0 ] || { echo "this is not what was seen"; exit 1; }
