/* SPDX-License-Identifier: MIT */
#include "fs/fuse/init_shim.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#if FUSE_VERSION < FUSE_MAKE_VERSION(3, 14)
#error "knotfs needs libfuse 3.14 or later"
#endif
_Static_assert(sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in) == KNOT_SLOT_HEADER_BYTES,
	       "the data of a WRITE must begin at slot->data");

/*
 * Lookups and listings of one directory side by side; setuid and setgid are cleared here, without a GETXATTR for each
 * write(2).
 */
#define WANTED_FLAGS ((uint32_t)(FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2))

static ssize_t shim_read(int fd, void *buffer, size_t len_bytes, void *userdata)
{
	(void)userdata; /* libfuse insists on having it; pool.c reads */
	return read(fd, buffer, len_bytes);
}

static void add_init_flags(struct knot_fuse *fuse, const struct iovec *iov, int count)
{
	const struct fuse_out_header *header = iov[0].iov_base;
	struct fuse_init_out *out;

	if (header->unique != fuse->init_unique)
		return;
	atomic_store(&fuse->init_done, true);
	if (header->error || count < 2 || iov[1].iov_len < offsetof(struct fuse_init_out, max_background))
		return;
	out = iov[1].iov_base;
	out->flags |= WANTED_FLAGS & fuse->init_offered;
}

static ssize_t shim_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct knot_fuse *fuse = userdata;

	if (!atomic_load_explicit(&fuse->init_done, memory_order_relaxed))
		add_init_flags(fuse, iov, count);
	return writev(fd, iov, count);
}

int knot_shim_attach(struct knot_fuse *fuse)
{
	static const struct fuse_custom_io io = { .read = shim_read, .writev = shim_writev };

	/* Major times 100 plus minor since 3.10: 314 for 3.14. */
	if (fuse_version() < FUSE_MAKE_VERSION(3, 14))
		return -EPROTONOSUPPORT;
	return fuse_session_custom_io(fuse->session, &io, fuse->fd) == 0 ? 0 : -ENOMEM;
}

/* A reply without libfuse. It fails when the kernel has given the request up, and then nobody waits for it. */
static void reply_raw(const struct knot_fuse *fuse, uint64_t unique, int err)
{
	const struct fuse_out_header out = { .len = sizeof(out), .error = err, .unique = unique };
	ssize_t ignored = write(fuse->fd, &out, sizeof(out));

	(void)ignored;
}

static void note_init(struct knot_fuse *fuse, const struct fuse_in_header *header, size_t len_bytes)
{
	const struct fuse_init_in *init = (const void *)&header[1];

	fuse->init_unique = header->unique;
	if (len_bytes >= sizeof(*header) + offsetof(struct fuse_init_in, flags2))
		fuse->init_offered = init->flags;
}

static void serve_syncfs(const struct knot_fuse *fuse, struct knot_slot *slot, uint64_t unique)
{
	reply_raw(fuse, unique, knot_vfs_syncfs(fuse->volume, &slot->request));
}

void knot_shim_serve(void *arg, struct knot_slot *slot, size_t len_bytes)
{
	struct knot_fuse *fuse = arg;
	const struct fuse_in_header *header = (const void *)slot->header;
	const struct fuse_buf buffer = { .size = len_bytes, .mem = slot->header };
	uint32_t opcode = header->opcode;

	knot_slot_count(&slot->requests[opcode < KNOT_SLOT_OPCODES ? opcode : KNOT_SLOT_OPCODES - 1], 1);
	slot->request.uid = header->uid;
	slot->request.gid = header->gid;
	switch (opcode) {
	case FUSE_SYNCFS:
		serve_syncfs(fuse, slot, header->unique);
		return;
	case FUSE_INTERRUPT:
		/* Nothing here is given up half-way. After this answer the kernel does not ask again. */
		reply_raw(fuse, header->unique, -ENOSYS);
		return;
	case FUSE_INIT:
		note_init(fuse, header, len_bytes);
		break;
	default:
		break;
	}
	fuse_session_process_buf(fuse->session, &buffer);
}

static const void *body(const struct knot_slot *slot)
{
	return slot->header + sizeof(struct fuse_in_header);
}

uint32_t knot_shim_setattr_valid(const struct knot_slot *slot)
{
	const struct fuse_setattr_in *in = body(slot);

	return in->valid;
}

bool knot_shim_write_kills_suid(const struct knot_slot *slot)
{
	const struct fuse_write_in *in = body(slot);

	return (in->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
}
