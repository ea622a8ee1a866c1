#!/usr/bin/env bash
# Linux 6.18 with libfuse 3.14.0: on a file system in user space that has no fsync, fsync and fdatasync return 0.
#
# Expected: an error, such as EINVAL for a file that cannot be synced, or EOPNOTSUPP as for other calls that such a
# file system does not have.
# Seen: write, fsync, fdatasync, the fsync of the folder and syncfs all return 0. The program that serves the file
# system is asked for none of the syncs: the library answers the first one with ENOSYS, the kernel calls that a success
# and does not ask again for as long as it is mounted. fallocate, which the program has not got either, is refused with
# EOPNOTSUPP.
# Why it matters: programs that serve object stores, archives or other machines' folders as file systems often have no
# fsync. A store of data on one acknowledges what is in the memory of that program, and cannot find out by trying: the
# type of the file system (statfs) says FUSE and no more.
#
# Needs root, /dev/fuse, gcc and apt; the packages of Debian 12 are unpacked in a temporary folder, and nothing is
# installed. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir/mnt" 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
version=3.14.0-4
apt-get -qq download libfuse3-dev=$version libfuse3-3=$version 2>/dev/null
for deb in *.deb; do dpkg -x "$deb" root; done
lib=$(dirname "$(find root -name 'libfuse3.so.3')")
ln -sf libfuse3.so.3 "$lib/libfuse3.so"
cat >memory.c <<'C'
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <string.h>

static char bytes[1 << 16];
static off_t size;

static int get_attr(const char *path, struct stat *st, struct fuse_file_info *f)
{
	(void)f;
	memset(st, 0, sizeof *st);
	st->st_nlink = 1;
	st->st_mode = strcmp(path, "/") ? S_IFREG | 0600 : S_IFDIR | 0700;
	st->st_size = strcmp(path, "/") ? size : 0;
	return strcmp(path, "/") && strcmp(path, "/extent") ? -ENOENT : 0;
}

static int write_at(const char *path, const char *p, size_t n, off_t off, struct fuse_file_info *f)
{
	(void)path, (void)f;
	if (off + n > sizeof bytes)
		return -ENOSPC;
	memcpy(bytes + off, p, n);
	size = off + n > (size_t)size ? off + n : (size_t)size;
	fprintf(stderr, "asked to write %zu bytes\n", n);
	return n;
}

/* Neither fsync nor fsyncdir nor fallocate. */
static const struct fuse_operations operations = {.getattr = get_attr, .write = write_at};

int main(int argc, char **argv) { return fuse_main(argc, argv, &operations, NULL); }
C
gcc -o memory memory.c -I root/usr/include/fuse3 -D_FILE_OFFSET_BITS=64 -L "$lib" -lfuse3
mkdir mnt
LD_LIBRARY_PATH=$lib ./memory -f mnt 2>asked &
for _ in $(seq 100); do mountpoint -q mnt && break || sleep 0.1; done
cat >sync.py <<'PY'
import ctypes, errno, os, sys

libc = ctypes.CDLL(None, use_errno=True)
results = {}


def note(name, call):
    try:
        got = call()
        results[name] = "0" if got in (None, 0) else errno.errorcode[ctypes.get_errno()]
    except OSError as e:
        results[name] = errno.errorcode[e.errno]
    print(f"{name:20} {results[name]}")


fd = os.open("mnt/extent", os.O_RDWR)
os.pwrite(fd, b"x" * 4096, 0)
note("fsync", lambda: os.fsync(fd))
note("fdatasync", lambda: os.fdatasync(fd))
note("fsync of the folder", lambda: os.fsync(os.open("mnt", os.O_RDONLY)))
note("syncfs", lambda: libc.syncfs(fd))
note("fallocate", lambda: libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(8192)))
sys.exit(list(results.values()) != ["0"] * 4 + [errno.errorcode[errno.EOPNOTSUPP]])
PY
bad=0
python3 sync.py || bad=1
umount mnt
wait
echo "the program was $(grep asked asked)"
[ "$(grep asked asked)" = "asked to write 4096 bytes" ] || bad=1
[ $bad = 0 ] || { echo "this is not what was seen"; exit 1; }
