/* SPDX-License-Identifier: MIT */
/* mkfs.knotfs: look whether the image may be overwritten, then format it. */
#include "mkfs/arguments_int.h"
#include "mkfs/format.h"
#include "mkfs/in_use_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void print_message(void *arg, enum knot_severity severity, const char *line)
{
	(void)arg;
	(void)severity;
	fprintf(stderr, "mkfs.knotfs: %s\n", line);
}

static void print_size(uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double number = (double)bytes;
	unsigned unit = 0;

	for (; number >= 1024 && unit < 5; unit++)
		number /= 1024;
	printf(number == (double)(uint64_t)number ? "%.0f %s" : "%.1f %s", number, units[unit]);
}

static void print_summary(const struct knot_mkfs_arguments *arguments, const struct knot_super *super)
{
	const uint8_t *u = super->uuid;
	uint64_t log_pages = 0;

	for (uint32_t i = 0; i < super->segment_count; i++)
		log_pages += super->segments[i].pages;
	printf("%s: %sknotfs volume, ", arguments->image, arguments->dry_run ? "would be a " : "");
	print_size(super->pages * KNOT_PAGE_BYTES);
	if (super->label[0])
		printf(", label \"%s\"", super->label);
	if (!arguments->dry_run || arguments->has_uuid)
		printf("\n  UUID %02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		       u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	printf("\n  log ");
	print_size(log_pages * KNOT_PAGE_BYTES);
	printf(" in %" PRIu32 " segment%s\n", super->segment_count, super->segment_count == 1 ? "" : "s");
}

/* Refuse what holds something already. */
static int check_contents(struct knot_device *device, const struct knot_mkfs_arguments *arguments,
			  const struct knot_messages *messages)
{
	struct knot_super super;
	char what[128];
	bool read_only;

	int err = knot_super_read(device, NULL, &super, &read_only);
	if (err == -EIO) {
		knot_message(messages, KNOT_ERROR, "can't be read: %s", strerror(EIO));
		return err;
	}
	if (err != -EMEDIUMTYPE) {
		knot_message(messages, KNOT_ERROR, "holds a knotfs volume; -f overwrites it");
		return -EEXIST;
	}
	int found = knot_in_use_probe(arguments->image, what, sizeof(what));
	if (found < 0)
		knot_message(messages, KNOT_ERROR, "can't be looked through for file systems: %s", strerror(-found));
	else if (found > 0)
		knot_message(messages, KNOT_ERROR, "holds data already (%s); -f overwrites it", what);
	return found > 0 ? -EEXIST : found;
}

/* What the volume's size will be. Errors: -EINVAL, said. */
static int choose_size(const struct knot_device *device, bool is_file, const struct knot_mkfs_arguments *arguments,
		       const struct knot_messages *messages, uint64_t *size_bytes)
{
	uint64_t wanted = arguments->size_bytes;

	if (wanted && !is_file && wanted != device->size_bytes) {
		knot_message(messages, KNOT_ERROR, "is a device of %" PRIu64 " bytes, which --size can't change",
			     device->size_bytes);
		return -EINVAL;
	}
	if (wanted && wanted < device->size_bytes) {
		knot_message(messages, KNOT_ERROR, "has %" PRIu64 " bytes, and is never made smaller",
			     device->size_bytes);
		return -EINVAL;
	}
	*size_bytes = wanted ? wanted : device->size_bytes;
	return 0;
}

static int open_image(const char *image, unsigned flags, const struct knot_messages *messages,
		      struct knot_device **device)
{
	int err = knot_device_open_file(image, flags, device);

	if (err == -EBUSY)
		knot_message(messages, KNOT_ERROR, "is in use by another program");
	else if (err == -ENOTBLK)
		knot_message(messages, KNOT_ERROR, "is neither a file nor a block device");
	else if (err)
		knot_message(messages, KNOT_ERROR, "can't be opened: %s", strerror(-err));
	return err;
}

/* The device is closed and opened anew: its size is fixed while it is open. */
static int grow_image(const char *image, uint64_t size_bytes, const struct knot_messages *messages,
		      struct knot_device **device)
{
	int err = truncate(image, (off_t)size_bytes) < 0 ? -errno : 0;

	if (err) {
		knot_message(messages, KNOT_ERROR, "can't be grown: %s", strerror(-err));
		return err;
	}
	knot_device_close(*device);
	*device = NULL;
	return open_image(image, 0, messages, device);
}

#define LOG_BYTES_MIN        (1u << 20) /* its largest mini-transaction, an eighth, must hold any single operation */
#define LOG_BYTES_MIN_GROUPS (4u << 20) /* ... and the initialising of a group, where there are several */

/* What the volume is to be, and whether its log is large enough to mount it with. */
static int plan(uint64_t size_bytes, uint32_t write_unit_bytes, const struct knot_mkfs_options *options,
		struct knot_super *super)
{
	int err = knot_mkfs_plan(size_bytes, write_unit_bytes, options, super);
	uint64_t least = !err && super->groups > 1 ? LOG_BYTES_MIN_GROUPS : LOG_BYTES_MIN;

	if (err || !options->log_bytes || options->log_bytes >= least)
		return err;
	knot_message(options->messages, KNOT_ERROR, "a log of %llu KiB is too small; this volume needs %llu KiB",
		     (unsigned long long)(options->log_bytes >> 10), (unsigned long long)(least >> 10));
	return -EINVAL;
}

static int format_existing(const struct knot_mkfs_arguments *arguments, const struct stat *st,
			   const struct knot_mkfs_options *options, struct knot_super *super)
{
	const struct knot_messages *messages = options->messages;
	struct knot_device *device = NULL;
	uint64_t size_bytes;
	char why[4200];

	if (knot_in_use_find(st, why, sizeof(why))) {
		knot_message(messages, KNOT_ERROR, "is %s", why);
		return -EBUSY;
	}
	int err = open_image(arguments->image, arguments->dry_run ? KNOT_DEVICE_READ_ONLY : 0, messages, &device);
	if (err)
		return err;
	if (!arguments->force)
		err = check_contents(device, arguments, messages);
	if (!err)
		err = choose_size(device, S_ISREG(st->st_mode), arguments, messages, &size_bytes);
	if (!err)
		err = plan(size_bytes, device->write_unit_bytes, options, super);
	if (err || arguments->dry_run)
		goto out;

	if (arguments->force) {
		err = knot_in_use_wipe(arguments->image);
		if (err)
			knot_message(messages, KNOT_ERROR, "can't be wiped: %s", strerror(-err));
	}
	if (!err && size_bytes / KNOT_PAGE_BYTES > device->size_bytes / KNOT_PAGE_BYTES)
		err = grow_image(arguments->image, size_bytes, messages, &device);
	if (!err)
		err = knot_mkfs(device, options, super);
out:
	knot_device_close(device);
	return err;
}

static int format_new(const struct knot_mkfs_arguments *arguments, const struct knot_mkfs_options *options,
		      struct knot_super *super)
{
	uint64_t size_bytes = arguments->size_bytes / KNOT_PAGE_BYTES * KNOT_PAGE_BYTES;
	struct knot_device *device;

	if (!arguments->size_bytes) {
		knot_message(options->messages, KNOT_ERROR, "does not exist; --size creates it");
		return -ENOENT;
	}
	int err = plan(size_bytes, KNOT_PAGE_BYTES, options, super);
	if (err || arguments->dry_run)
		return err;

	err = knot_device_create_file(arguments->image, size_bytes, &device);
	if (err) {
		knot_message(options->messages, KNOT_ERROR, "can't be created: %s", strerror(-err));
		return err;
	}
	err = knot_mkfs(device, options, super);
	knot_device_close(device);
	if (err)
		unlink(arguments->image);
	return err;
}

static int format_image(const struct knot_mkfs_arguments *arguments, struct knot_super *super)
{
	struct knot_messages messages = { .emit = print_message, .volume = arguments->image };
	struct timespec now;
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &now);
	struct knot_mkfs_options options = {
		.messages = &messages,
		.label = arguments->label,
		.uuid = arguments->has_uuid ? arguments->uuid : NULL,
		.log_bytes = arguments->log_bytes,
		.log_segments = arguments->log_segments,
		.root_uid = getuid(),
		.root_gid = getgid(),
		.time_sec = now.tv_sec,
		.time_nsec = (uint32_t)now.tv_nsec,
	};

	if (stat(arguments->image, &st) == 0)
		return format_existing(arguments, &st, &options, super);
	if (errno == ENOENT)
		return format_new(arguments, &options, super);
	int err = -errno;
	knot_message(&messages, KNOT_ERROR, "%s", strerror(-err));
	return err;
}

int main(int argc, char **argv)
{
	struct knot_mkfs_arguments arguments;
	struct knot_super super = { 0 };

	if (knot_mkfs_parse(argc, argv, &arguments))
		return 1;
	if (arguments.help) {
		knot_mkfs_print_help();
	} else if (arguments.version) {
		printf("mkfs.knotfs %s\n", KNOT_VERSION);
	} else {
		if (format_image(&arguments, &super))
			return 1;
		if (!arguments.quiet)
			print_summary(&arguments, &super);
	}
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "mkfs.knotfs: standard output: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}
