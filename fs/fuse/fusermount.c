/* SPDX-License-Identifier: MIT */
/*
 * fusermount3: a setuid program that mounts for those who may not, and sends the descriptor of the connection back
 * over the socket whose number it finds in _FUSE_COMMFD.
 */
#include "fs/fuse/mount_int.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM       "fusermount3"
#define COMM_VARIABLE "_FUSE_COMMFD"

/* `more` (NULL: nothing) goes in front of our own environment. The result's strings are not copies. */
static char **environment_with(char *more)
{
	size_t count = 0, used = 0;
	char **copy;

	while (environ[count])
		count++;
	copy = calloc(count + 2, sizeof(*copy));
	if (!copy)
		return NULL;
	if (more)
		copy[used++] = more;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], COMM_VARIABLE "=", sizeof(COMM_VARIABLE)) != 0)
			copy[used++] = environ[i];
	return copy;
}

/* Start it with `comm` (-1: none) as its socket. */
static int start(char *const argv[], int comm, pid_t *pid)
{
	char variable[32];
	char **environment;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int err;

	snprintf(variable, sizeof(variable), COMM_VARIABLE "=%d", comm);
	environment = environment_with(comm >= 0 ? variable : NULL);
	if (!environment)
		return -ENOMEM;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none); /* we have signals blocked */
	if (comm >= 0)
		posix_spawn_file_actions_adddup2(&actions, comm, comm); /* the same number: clears close-on-exec */
	err = -posix_spawnp(pid, PROGRAM, &actions, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	free(environment);
	return err;
}

/* Returns true when the program ended with 0. */
static bool finish(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The descriptor that comes over the socket; -EPERM when it is closed without one. */
static int receive(int comm)
{
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	const struct cmsghdr *header;
	ssize_t got;
	int fd;

	do
		got = recvmsg(comm, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return -EPERM;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return -EPERM;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* Append a comma and `text`, with commas and backslashes escaped. False: no room. */
static bool append_escaped(char *list, size_t room_bytes, const char *name, const char *text)
{
	size_t used = strlen(list);
	int length = snprintf(list + used, room_bytes - used, ",%s=", name);

	if (length < 0 || (size_t)length >= room_bytes - used)
		return false;
	used += (size_t)length;
	for (; *text; text++) {
		if (used + 3 > room_bytes)
			return false;
		if (*text == ',' || *text == '\\')
			list[used++] = '\\';
		list[used++] = *text;
	}
	list[used] = '\0';
	return true;
}

static bool build_list(const struct knot_mount_options *options, char *list, size_t room_bytes)
{
	/* Those that it knows. */
	int length =
		snprintf(list, room_bytes, "%s,default_permissions,subtype=knotfs%s%s%s%s%s%s%s",
			 options->flags & MS_RDONLY ? "ro" : "rw", options->allow_other ? ",allow_other" : "",
			 options->flags & MS_NOSUID ? ",nosuid" : "", options->flags & MS_NODEV ? ",nodev" : "",
			 options->flags & MS_NOEXEC ? ",noexec" : "", options->flags & MS_NOATIME ? ",noatime" : "",
			 options->flags & MS_SYNCHRONOUS ? ",sync" : "", options->flags & MS_DIRSYNC ? ",dirsync" : "");

	return length > 0 && (size_t)length < room_bytes && append_escaped(list, room_bytes, "fsname", options->fsname);
}

int knot_fusermount_attach(const struct knot_mount_options *options, const char *dir, int *fd)
{
	char list[2 * PATH_MAX + 256];
	char path[PATH_MAX];
	char program[] = PROGRAM, option[] = "-o", end[] = "--";
	char *const argv[] = { program, option, list, end, path, NULL };
	int pair[2];
	pid_t pid;
	int err;

	snprintf(path, sizeof(path), "%s", dir);
	if (!build_list(options, list, sizeof(list)))
		return -ENAMETOOLONG;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	err = start(argv, pair[1], &pid);
	close(pair[1]);
	if (err) {
		knot_message(options->messages, KNOT_ERROR,
			     "can't run " PROGRAM " (package fuse3), which mounts for ordinary users: %s",
			     strerror(-err));
		close(pair[0]);
		return err;
	}
	err = receive(pair[0]);
	close(pair[0]);
	if (!finish(pid) && err >= 0) {
		close(err);
		err = -EPERM;
	}
	if (err < 0) {
		knot_message(options->messages, KNOT_ERROR, "%s: " PROGRAM " could not mount", dir);
		return err;
	}
	*fd = err;
	return 0;
}

int knot_fusermount_detach(const char *dir, bool lazily)
{
	char path[PATH_MAX];
	char program[] = PROGRAM, options[8], end[] = "--";
	char *const argv[] = { program, options, end, path, NULL };
	pid_t pid;
	int err;

	snprintf(path, sizeof(path), "%s", dir);
	snprintf(options, sizeof(options), "%s", lazily ? "-uqz" : "-uq");
	err = start(argv, -1, &pid);
	if (err)
		return err;
	return finish(pid) ? 0 : -EBUSY;
}
