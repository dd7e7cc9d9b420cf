/* SPDX-License-Identifier: MIT */
/*
 * The life of one mount. The main thread starts everything, then waits for a signal or for the last thread of the pool.
 *
 *   image locked -> volume recovered -> mounted -> INIT answered -> served -> unmounted (DESTROY, if it comes,
 *   closes) -> closed
 *
 * TERM, INT and HUP are blocked in all threads and come through a descriptor; those that arrive during recovery wait
 * for its end. If power fails, or the daemon is killed, at any of these points: the next start recovers, and detaches
 * the mount point.
 */
#include "fs/fuse/daemon.h"

#include "fs/disk/device.h"
#include "fs/fuse/fuse_int.h"
#include "fs/fuse/image.h"
#include "fs/fuse/init_shim.h"
#include "fs/fuse/mount.h"
#include "fs/fuse/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define REQUEST_BYTES_MAX    (1024u * 1024u)
#define STOP_INTERVAL_MS     10
#define MMAP_THRESHOLD_BYTES (128 * 1024)

struct daemon {
	const struct knot_options *options;
	struct knot_sink sink;
	struct knot_device *device;
	struct knot_mount mount;
	struct knot_fuse fuse;
	char image[PATH_MAX]; /* absolute: the daemon leaves its folder */
	int signal_fd;
};

/* ---- signals ---- */

static void on_stop(int number)
{
	(void)number; /* its coming interrupts a read(2): pool.h */
}

static int take_signals(struct daemon *daemon)
{
	struct sigaction nothing = { .sa_handler = on_stop };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGHUP);
	daemon->signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (daemon->signal_fd < 0)
		return -errno;
	sigaction(SIGUSR1, &nothing, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaddset(&ours, SIGUSR1); /* the pool's threads alone take it */
	return -pthread_sigmask(SIG_BLOCK, &ours, NULL);
}

/* ---- start ---- */

static int open_volume(struct daemon *daemon)
{
	const struct knot_options *options = daemon->options;
	const struct knot_volume_options volume = {
		.device = daemon->device,
		.messages = &daemon->sink.volume,
		.cache_bytes = options->cache_bytes,
		.log_buffer_bytes = options->log_buffer_bytes,
		.commit_policy = options->commit_policy,
		.commit_seconds = options->commit_seconds,
		.strict = options->strict,
		.read_only = options->read_only,
		.threads = true,
		.atime = options->noatime ? KNOT_ATIME_NONE : KNOT_ATIME_RELATIME,
	};
	struct knot_fuse *fuse = &daemon->fuse;
	int err = knot_volume_open(&volume, &fuse->volume);

	if (err)
		return err;
	fuse->messages = &daemon->sink.volume;
	fuse->writeback = options->writeback;
	fuse->owner = geteuid();
	fuse->read_only = knot_volume_is_read_only(fuse->volume);
	fuse->write_max_bytes = knot_vfs_write_max(fuse->volume);
	if (fuse->write_max_bytes > REQUEST_BYTES_MAX)
		fuse->write_max_bytes = REQUEST_BYTES_MAX;
	if (fuse->read_only && !options->read_only)
		knot_message(&daemon->sink.volume, KNOT_WARNING, "mounted read-only");
	return 0;
}

static int new_session(struct daemon *daemon)
{
	struct fuse_lowlevel_ops ops = { 0 };
	struct knot_fuse *fuse = &daemon->fuse;
	char name[] = "knotfs";
	char *argv[] = { name, NULL };
	struct fuse_args args = { .argc = 1, .argv = argv };

	knot_ops_session(&ops);
	knot_ops_attr(&ops);
	knot_ops_name(&ops);
	knot_ops_dir(&ops);
	knot_ops_data(&ops);
	knot_ops_ioctl(&ops);
	fuse->session = fuse_session_new(&args, &ops, sizeof(ops), fuse);
	fuse_opt_free_args(&args);
	return fuse->session ? 0 : -ENOMEM;
}

static int attach(struct daemon *daemon)
{
	const struct knot_options *options = daemon->options;
	struct knot_fuse *fuse = &daemon->fuse;
	const struct knot_mount_options mount = {
		.image = daemon->image,
		.fsname = options->fsname ? options->fsname : daemon->image,
		.security = options->security,
		.flags = options->mount_flags | (fuse->read_only ? MS_RDONLY : 0) | (options->noatime ? MS_NOATIME : 0),
		/* Others see what root mounts, as with any file system. */
		.allow_other = options->allow_other || geteuid() == 0,
		.messages = &daemon->sink.plain,
	};

	return knot_mount_attach(&mount, &daemon->mount);
}

/* Answer INIT and start the pool. What goes wrong is said. */
static int begin_serving(struct daemon *daemon)
{
	struct knot_fuse *fuse = &daemon->fuse;
	const struct knot_pool_options pool = {
		.fd = daemon->mount.fd,
		.threads_max = daemon->options->threads,
		.serve = knot_shim_serve,
		.arg = fuse,
	};
	int err;

	fuse->fd = daemon->mount.fd;
	err = knot_pool_new(&pool, &fuse->pool);
	if (!err)
		err = knot_shim_attach(fuse);
	if (err == -EPROTONOSUPPORT)
		knot_message(&daemon->sink.plain, KNOT_ERROR, "libfuse %s is too old, 3.14 is needed",
			     fuse_pkgversion());
	if (err)
		return err;
	daemon->mount.fd = -1; /* the session's now */
	err = knot_pool_serve_first(fuse->pool);
	if (!err && fuse_session_exited(fuse->session))
		err = -EPROTO;
	if (!err)
		err = knot_pool_start(fuse->pool);
	if (err)
		knot_message(&daemon->sink.plain, KNOT_ERROR, "talking to the kernel failed: %s", strerror(-err));
	return err;
}

/* ---- end ---- */

static void drain_signals(const struct daemon *daemon)
{
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) > 0) {
	}
}

/* Let programs that still use the mount find it gone; what they wrote is saved. */
static void stop_pool(const struct daemon *daemon)
{
	struct pollfd ended = { .fd = knot_pool_ended_fd(daemon->fuse.pool), .events = POLLIN };

	do
		knot_pool_stop(daemon->fuse.pool);
	while (poll(&ended, 1, STOP_INTERVAL_MS) <= 0);
}

static void save_cached_writes(const struct daemon *daemon)
{
	int fd = open(daemon->mount.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)syncfs(fd); /* with -o writeback the kernel has data of ours */
	close(fd);
}

/* After TERM: unmount; when it is in use, take it away from its users. */
static void end_by_signal(const struct daemon *daemon)
{
	int err = knot_mount_detach(&daemon->mount, false);

	if (err) {
		knot_message(&daemon->sink.plain, KNOT_NOTE, "%s is in use: it goes away under its users",
			     daemon->mount.dir);
		save_cached_writes(daemon);
		(void)knot_mount_detach(&daemon->mount, true);
		stop_pool(daemon);
	}
}

static void wait_for_end(const struct daemon *daemon)
{
	struct pollfd fds[] = {
		{ .fd = daemon->signal_fd, .events = POLLIN },
		{ .fd = knot_pool_ended_fd(daemon->fuse.pool), .events = POLLIN },
	};

	while (!(fds[1].revents & POLLIN)) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if ((fds[0].revents & POLLIN) && !(fds[1].revents & POLLIN)) {
			drain_signals(daemon);
			end_by_signal(daemon);
		}
	}
}

/* Close what was opened, in whatever state; the volume's error is the result. */
static int finish(struct daemon *daemon)
{
	struct knot_fuse *fuse = &daemon->fuse;
	int err = knot_fuse_close_volume(fuse);
	int pool_err;

	if (err)
		knot_message(&daemon->sink.volume, KNOT_ERROR, "closing failed: %s", strerror(-err));
	if (fuse->session)
		fuse_session_destroy(fuse->session);
	if (daemon->mount.fd >= 0)
		close(daemon->mount.fd);
	if (fuse->pool) {
		pool_err = knot_pool_free(fuse->pool);
		if (pool_err)
			knot_message(&daemon->sink.plain, KNOT_ERROR, "reading requests failed: %s",
				     strerror(-pool_err));
	}
	knot_device_close(daemon->device);
	if (daemon->signal_fd >= 0)
		close(daemon->signal_fd);
	pthread_mutex_destroy(&fuse->close_mutex);
	return err;
}

/* ---- all of it ---- */

static int enter_name_space(const struct daemon *daemon)
{
	const char *path = daemon->options->name_space;
	char by_pid[64];
	int fd, err;

	if (!path)
		return 0;
	if (path[strspn(path, "0123456789")] == '\0') {
		snprintf(by_pid, sizeof(by_pid), "/proc/%.20s/ns/mnt", path);
		path = by_pid;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	err = fd >= 0 && setns(fd, CLONE_NEWNS) == 0 ? 0 : -errno;
	if (fd >= 0)
		close(fd);
	if (err)
		knot_message(&daemon->sink.plain, KNOT_ERROR, "can't enter the mount namespace %s: %s", path,
			     strerror(-err));
	return err;
}

/* Up to the mount. Everything that goes wrong is said. Returns an exit status. */
static int start(struct daemon *daemon)
{
	const struct knot_options *options = daemon->options;
	const struct knot_messages *messages = &daemon->sink.plain;

	if (enter_name_space(daemon))
		return KNOT_EXIT_MOUNT;
	if (!realpath(options->image, daemon->image)) {
		knot_message(messages, KNOT_ERROR, "%s: %s", options->image, strerror(errno));
		return KNOT_EXIT_MOUNT;
	}
	if (take_signals(daemon)) {
		knot_message(messages, KNOT_ERROR, "no signals: %s", strerror(errno));
		return KNOT_EXIT_SYSTEM;
	}
	/* The lock comes first: it shows that no daemon serves what may be mounted at DIR. */
	if (knot_image_open(options->image, options->read_only, messages, &daemon->device) ||
	    knot_mount_prepare(options->dir, messages, &daemon->mount))
		return KNOT_EXIT_MOUNT;
	if (open_volume(daemon))
		return KNOT_EXIT_MOUNT;
	if (new_session(daemon)) {
		knot_message(messages, KNOT_ERROR, "no memory for the session");
		return KNOT_EXIT_SYSTEM;
	}
	if (attach(daemon))
		return KNOT_EXIT_MOUNT;
	if (begin_serving(daemon)) {
		(void)knot_mount_detach(&daemon->mount, true);
		return KNOT_EXIT_MOUNT;
	}
	return 0;
}

/* Tables that grow and shrink are to give their memory back: what heaps keep for each thread is charged to nobody. */
static void tune_memory(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, MMAP_THRESHOLD_BYTES);
}

int knot_daemon_run(const struct knot_options *options, void (*mounted)(void *arg), void *arg)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int status;

	if (!daemon)
		return KNOT_EXIT_SYSTEM;
	tune_memory();
	daemon->options = options;
	daemon->signal_fd = -1;
	daemon->mount.fd = -1;
	pthread_mutex_init(&daemon->fuse.close_mutex, NULL);
	knot_sink_init(&daemon->sink, options->image, !options->foreground);

	status = start(daemon);
	if (status == 0) {
		knot_mount_tune(&daemon->mount);
		if (!options->foreground)
			knot_sink_detach(&daemon->sink);
		mounted(arg);
		wait_for_end(daemon);
	}
	if (finish(daemon) && status == 0)
		status = KNOT_EXIT_MOUNT;
	free(daemon);
	return status;
}
