/* SPDX-License-Identifier: MIT */
/*
 * The library: volumes and POSIX operations on inode numbers, without FUSE. The daemon, the tests and fsck use it.
 *
 * Every operation may be called from any thread. `request` says who asks and is told before the call waits; NULL means
 * root and nobody to tell. Permission checks are the kernel's (default_permissions); what only the file system can do
 * is done here: setgid inheritance, umask, sticky is the kernel's.
 *
 * Lookups: a success of lookup, create, mknod, mkdir, symlink, link, and each entry of a readdir with attributes that
 * was taken, adds one to the inode's lookup count; knot_vfs_forget() takes them back. An inode without names lives
 * until its lookups are 0.
 *
 * Errors are negative errno values: those of the call that POSIX and ext4 give, and EUCLEAN/EIO for what a damaged
 * medium hits, EROFS for changes of a read-only or stopped volume.
 */
#ifndef KNOTFS_KNOTFS_H
#define KNOTFS_KNOTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct knot_volume;
struct knot_device;
struct knot_request;
struct knot_messages;
struct knot_txn_stats;

struct knot_time {
	int64_t sec;
	uint32_t nsec;
};

struct knot_attr {
	uint64_t inode;
	uint32_t mode, uid, gid, project;
	uint32_t links;          /* names */
	uint32_t subdirectories; /* st_nlink of a directory is 1 + links + subdirectories */
	uint64_t size;           /* of a directory: entries */
	uint64_t pages;          /* with those pending */
	uint64_t flags, generation, change, rdev, data_object;
	struct knot_time atime, mtime, ctime, btime;
};

/* What stat(2) shows as st_nlink: 0 for a directory that was removed, too. */
static inline uint32_t knot_attr_nlink(const struct knot_attr *attr)
{
	return (attr->mode & 0170000) == 0040000 && attr->links ? 1 + attr->links + attr->subdirectories : attr->links;
}

enum knot_atime_policy { KNOT_ATIME_RELATIME, KNOT_ATIME_NONE };

struct knot_volume_options {
	struct knot_device *device;           /* not owned */
	const struct knot_messages *messages; /* not owned; may be NULL */
	size_t cache_bytes;                   /* 0: 256 MiB */
	size_t log_buffer_bytes;              /* 0: 16 MiB; at least 1 MiB */
	unsigned commit_policy;               /* flush_log_at_commit= */
	unsigned commit_seconds;              /* commit=; 0: 5 */
	bool strict;                          /* data=strict */
	bool read_only;                       /* the log is replayed in memory; the device is not written */
	bool threads;                         /* background threads; without them knot_volume_tick() does their work */
	enum knot_atime_policy atime;
	size_t log_fsync_bytes; /* an fsync of at most this much pending data goes through the log; 0: 64 KiB */
	struct knot_time (*now)(void *arg); /* the clock; NULL: CLOCK_REALTIME (tests bring their own) */
	void *now_arg;
};

/* Recover and open. Orphans are finished in the background. Every failure has said one line through `messages`. */
int knot_volume_open(const struct knot_volume_options *options, struct knot_volume **volume);
/* Flush everything, checkpoint, mark clean; frees always. Returns the first error. Lookups count as 0. */
int knot_volume_close(struct knot_volume *volume);
/* Free without writing: a power cut. */
void knot_volume_abandon(struct knot_volume *volume);
/* One round of background work (data older than commit seconds unless `all`), for volumes without threads. */
int knot_volume_tick(struct knot_volume *volume, bool all);

/* ---- name space ---- */
int knot_vfs_lookup(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		    size_t name_bytes, struct knot_attr *attr);
void knot_vfs_forget(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t lookups);
int knot_vfs_getattr(struct knot_volume *volume, struct knot_request *request, uint64_t inode, struct knot_attr *attr);

#define KNOT_SET_MODE      0x1u
#define KNOT_SET_UID       0x2u
#define KNOT_SET_GID       0x4u
#define KNOT_SET_SIZE      0x8u
#define KNOT_SET_ATIME     0x10u
#define KNOT_SET_MTIME     0x20u
#define KNOT_SET_CTIME     0x40u
#define KNOT_SET_ATIME_NOW 0x80u
#define KNOT_SET_MTIME_NOW 0x100u
#define KNOT_SET_KILL_SUID 0x200u /* clear setuid, and setgid if group-executable */
#define KNOT_SET_FLAGS     0x400u
#define KNOT_SET_PROJECT   0x800u
int knot_vfs_setattr(struct knot_volume *volume, struct knot_request *request, uint64_t inode, unsigned mask,
		     const struct knot_attr *wanted, struct knot_attr *attr);

/* Regular files (create and mknod), directories, symlinks. `mode` with type bits; the umask of `request` is applied.
 * -EEXIST if the name is there. */
int knot_vfs_mknod(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		   size_t name_bytes, uint32_t mode, uint64_t rdev, struct knot_attr *attr);
int knot_vfs_mkdir(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		   size_t name_bytes, uint32_t mode, struct knot_attr *attr);
int knot_vfs_symlink(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		     size_t name_bytes, const char *target, size_t target_bytes, struct knot_attr *attr);
/* `*len_bytes`: room in, length out (no NUL). */
int knot_vfs_readlink(struct knot_volume *volume, struct knot_request *request, uint64_t inode, char *target,
		      size_t *len_bytes);
int knot_vfs_link(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t parent,
		  const char *name, size_t name_bytes, struct knot_attr *attr);
int knot_vfs_unlink(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		    size_t name_bytes);
int knot_vfs_rmdir(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		   size_t name_bytes);

#define KNOT_RENAME_NOREPLACE 0x1u /* as RENAME_* of renameat2(2) */
#define KNOT_RENAME_EXCHANGE  0x2u
#define KNOT_RENAME_WHITEOUT  0x4u
int knot_vfs_rename(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		    size_t name_bytes, uint64_t new_parent, const char *new_name, size_t new_name_bytes,
		    unsigned flags);

/*
 * Entries after `offset` (0: from the start, "." and ".." come first). `fill` returns non-zero when it has no room:
 * that entry is not taken. It is called with locks held and only copies. `attr` is NULL unless `with_attributes`; it is
 * NULL for "." and "..". A success with no entry is the end.
 */
typedef int (*knot_fill_fn)(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type,
			    uint64_t next_offset, const struct knot_attr *attr);
int knot_vfs_readdir(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t offset,
		     bool with_attributes, knot_fill_fn fill, void *arg);

/* ---- data ---- */
/* Any offset and length. `*got`: bytes read, short only at the end of the file. `buffer` need not be aligned. */
int knot_vfs_read(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t at,
		  size_t len_bytes, void *buffer, size_t *got);
/* At most knot_vfs_write_max() bytes; atomic. `kill_suid`: as KNOT_SET_KILL_SUID. */
int knot_vfs_write(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t at,
		   size_t len_bytes, const void *buffer, bool kill_suid);
size_t knot_vfs_write_max(const struct knot_volume *volume);
int knot_vfs_fsync(struct knot_volume *volume, struct knot_request *request, uint64_t inode, bool data_only);
int knot_vfs_fsyncdir(struct knot_volume *volume, struct knot_request *request, uint64_t inode);
/* Everything that was done before the call is durable when it returns. */
int knot_vfs_syncfs(struct knot_volume *volume, struct knot_request *request);
/* Clean all pages, write the slot. */
int knot_vfs_checkpoint(struct knot_volume *volume, struct knot_request *request);

struct knot_statfs {
	uint64_t pages, pages_free, pages_available;
	uint64_t inodes, inodes_free; /* in use; that fit into what is available, roughly */
	uint32_t page_bytes, name_bytes_max;
	uint8_t uuid[16];
};
int knot_vfs_statfs(struct knot_volume *volume, struct knot_request *request, struct knot_statfs *out);

void knot_volume_stats(struct knot_volume *volume, struct knot_txn_stats *stats);
bool knot_volume_is_read_only(const struct knot_volume *volume); /* or stopped */

#endif
