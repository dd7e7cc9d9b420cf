/* SPDX-License-Identifier: MIT */
#include "fs/fuse/options.h"
#include "fs/fuse/pool.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define CACHE_BYTES_MIN      (1u << 20)
#define LOG_BUFFER_BYTES_MIN (2u << 20) /* a quarter of it must hold the largest operation */
#define COMMIT_SECONDS_MAX   3600u
#define THREADS_DEFAULT_MIN  8
#define NO_SYMLINK_FOLLOW    256u /* MS_NOSYMFOLLOW, younger than some C libraries */

struct parser {
	struct knot_options *options;
	bool sloppy; /* -s */
	void (*complain)(void *arg, const char *line);
	void *arg;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct parser *parser, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	parser->complain(parser->arg, line);
	return -EINVAL;
}

/* ---- values ---- */

static int parse_size(const struct parser *parser, const char *name, const char *text, size_t min, size_t *out)
{
	static const char units[] = "kmgt";
	unsigned long long value;
	unsigned shift = 0;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (end != text && *end) {
		const char *unit = strchr(units, *end | 0x20);

		if (unit) {
			shift = (unsigned)(unit - units + 1) * 10;
			end++;
			if (strcmp(end, "iB") == 0 || strcmp(end, "B") == 0)
				end += strlen(end);
		}
	}
	if (end == text || *end || *text == '-' || errno || value > SIZE_MAX >> shift)
		return refuse(parser, "option %s: '%s' is not a size", name, text);
	value <<= shift;
	if (value < min)
		return refuse(parser, "option %s: at least %zu KiB", name, min >> 10);
	*out = (size_t)value;
	return 0;
}

static int parse_number(const struct parser *parser, const char *name, const char *text, unsigned min, unsigned max,
			unsigned *out)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (end == text || *end || *text == '-' || errno || value < min || value > max)
		return refuse(parser, "option %s: '%s' is not a number from %u to %u", name, text, min, max);
	*out = (unsigned)value;
	return 0;
}

static int parse_data(const struct parser *parser, const char *text)
{
	if (strcmp(text, "ordered") == 0)
		parser->options->strict = false;
	else if (strcmp(text, "strict") == 0)
		parser->options->strict = true;
	else
		return refuse(parser, "option data: '%s' is neither ordered nor strict", text);
	return 0;
}

static int append_security(const struct parser *parser, const char *text)
{
	struct knot_options *options = parser->options;
	char *joined;

	/* As mount(8) does: labels mean nothing to a kernel without SELinux, and it would refuse them. */
	if (access("/sys/fs/selinux/enforce", F_OK) != 0)
		return 0;
	if (asprintf(&joined, "%s,%s", options->security ? options->security : "", text) < 0)
		return -ENOMEM;
	free(options->security);
	options->security = joined;
	return 0;
}

/* ---- the options ---- */

enum kind {
	OPT_IGNORE, /* for mount(8), or how things are anyway */
	OPT_MS_SET,
	OPT_MS_CLEAR,
	OPT_RO,
	OPT_RW,
	OPT_NOATIME,
	OPT_RELATIME,
	OPT_ALLOW_OTHER,
	OPT_WRITEBACK,
	OPT_USER,   /* mount(8): implies three others */
	OPT_VALUED, /* from here on with a value */
	OPT_CACHE = OPT_VALUED,
	OPT_LOG_BUFFER,
	OPT_COMMIT_POLICY,
	OPT_COMMIT_SECONDS,
	OPT_DATA,
	OPT_THREADS,
	OPT_FSNAME,
	OPT_SECURITY,
	OPT_IGNORE_VALUE,
};

struct option_entry {
	const char *name;
	enum kind kind;
	unsigned long flag;
};

static const struct option_entry table[] = {
	{ "ro", OPT_RO, 0 },
	{ "rw", OPT_RW, 0 },
	{ "allow_other", OPT_ALLOW_OTHER, 0 },
	{ "writeback", OPT_WRITEBACK, 0 },
	{ "noatime", OPT_NOATIME, 0 },
	{ "relatime", OPT_RELATIME, 0 },
	{ "atime", OPT_RELATIME, 0 },
	{ "cache", OPT_CACHE, 0 },
	{ "log_buffer", OPT_LOG_BUFFER, 0 },
	{ "flush_log_at_commit", OPT_COMMIT_POLICY, 0 },
	{ "commit", OPT_COMMIT_SECONDS, 0 },
	{ "data", OPT_DATA, 0 },
	{ "threads", OPT_THREADS, 0 },
	{ "fsname", OPT_FSNAME, 0 },

	{ "suid", OPT_MS_CLEAR, MS_NOSUID },
	{ "nosuid", OPT_MS_SET, MS_NOSUID },
	{ "dev", OPT_MS_CLEAR, MS_NODEV },
	{ "nodev", OPT_MS_SET, MS_NODEV },
	{ "exec", OPT_MS_CLEAR, MS_NOEXEC },
	{ "noexec", OPT_MS_SET, MS_NOEXEC },
	{ "sync", OPT_MS_SET, MS_SYNCHRONOUS },
	{ "async", OPT_MS_CLEAR, MS_SYNCHRONOUS },
	{ "dirsync", OPT_MS_SET, MS_DIRSYNC },
	{ "diratime", OPT_MS_CLEAR, MS_NODIRATIME },
	{ "nodiratime", OPT_MS_SET, MS_NODIRATIME },
	{ "nosymfollow", OPT_MS_SET, NO_SYMLINK_FOLLOW },
	{ "user", OPT_USER, 0 },
	{ "users", OPT_USER, 0 },
	{ "owner", OPT_USER, MS_NOEXEC },
	{ "group", OPT_USER, MS_NOEXEC },

	{ "context", OPT_SECURITY, 0 },
	{ "fscontext", OPT_SECURITY, 0 },
	{ "defcontext", OPT_SECURITY, 0 },
	{ "rootcontext", OPT_SECURITY, 0 },

	{ "defaults", OPT_IGNORE, 0 },
	{ "auto", OPT_IGNORE, 0 },
	{ "noauto", OPT_IGNORE, 0 },
	{ "nouser", OPT_IGNORE, 0 },
	{ "noowner", OPT_IGNORE, 0 },
	{ "nogroup", OPT_IGNORE, 0 },
	{ "nofail", OPT_IGNORE, 0 },
	{ "_netdev", OPT_IGNORE, 0 },
	{ "loud", OPT_IGNORE, 0 },
	{ "silent", OPT_IGNORE, 0 },
	{ "loop", OPT_IGNORE, 0 },
	{ "default_permissions", OPT_IGNORE, 0 },
	{ "nonempty", OPT_IGNORE, 0 },
	{ "user", OPT_IGNORE_VALUE, 0 },
	{ "comment", OPT_IGNORE_VALUE, 0 },
	{ "subtype", OPT_IGNORE_VALUE, 0 },
};

static int set_plain(struct knot_options *options, const struct option_entry *entry)
{
	switch (entry->kind) {
	case OPT_MS_SET:
		options->mount_flags |= entry->flag;
		break;
	case OPT_MS_CLEAR:
		options->mount_flags &= ~entry->flag;
		break;
	case OPT_RO:
	case OPT_RW:
		options->read_only = entry->kind == OPT_RO;
		break;
	case OPT_NOATIME:
	case OPT_RELATIME:
		options->noatime = entry->kind == OPT_NOATIME;
		break;
	case OPT_ALLOW_OTHER:
		options->allow_other = true;
		break;
	case OPT_WRITEBACK:
		options->writeback = true;
		break;
	case OPT_USER:
		options->mount_flags |= (MS_NOSUID | MS_NODEV | MS_NOEXEC) & ~entry->flag;
		break;
	default:
		break;
	}
	return 0;
}

static int set_valued(const struct parser *parser, enum kind kind, const char *name, const char *value,
		      const char *whole)
{
	struct knot_options *options = parser->options;

	switch (kind) {
	case OPT_CACHE:
		return parse_size(parser, name, value, CACHE_BYTES_MIN, &options->cache_bytes);
	case OPT_LOG_BUFFER:
		return parse_size(parser, name, value, LOG_BUFFER_BYTES_MIN, &options->log_buffer_bytes);
	case OPT_COMMIT_POLICY:
		return parse_number(parser, name, value, 0, 2, &options->commit_policy);
	case OPT_COMMIT_SECONDS:
		return parse_number(parser, name, value, 1, COMMIT_SECONDS_MAX, &options->commit_seconds);
	case OPT_THREADS:
		return parse_number(parser, name, value, 1, KNOT_POOL_THREADS_MAX, &options->threads);
	case OPT_DATA:
		return parse_data(parser, value);
	case OPT_FSNAME:
		free(options->fsname);
		options->fsname = strdup(value);
		return options->fsname ? 0 : -ENOMEM;
	case OPT_SECURITY:
		return append_security(parser, whole);
	default:
		return 0;
	}
}

/* `whole` is one option, NAME or NAME=VALUE. */
static int set_option(const struct parser *parser, const char *whole)
{
	const char *equals = strchr(whole, '=');
	size_t name_bytes = equals ? (size_t)(equals - whole) : strlen(whole);
	bool known = false;

	if (strncmp(whole, "x-", 2) == 0 || strncmp(whole, "X-", 2) == 0)
		return 0;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct option_entry *entry = &table[i];

		if (strncmp(entry->name, whole, name_bytes) != 0 || entry->name[name_bytes])
			continue;
		known = true;
		if ((entry->kind >= OPT_VALUED) != (equals != NULL))
			continue;
		return equals ? set_valued(parser, entry->kind, entry->name, equals + 1, whole)
			      : set_plain(parser->options, entry);
	}
	if (known)
		return refuse(parser, "option %.*s %s", (int)name_bytes, whole,
			      equals ? "takes no value" : "needs a value");
	if (parser->sloppy)
		return 0;
	return refuse(parser, "unknown option: %.*s", (int)name_bytes, whole);
}

/* Options separated by commas; none separates inside "quotes". */
static int set_options(const struct parser *parser, const char *list)
{
	char *copy = strdup(list);
	char *start = copy;
	bool quoted = false;
	int err = 0;

	if (!copy)
		return -ENOMEM;
	for (char *at = copy; !err; at++) {
		char c = *at;

		if (c == '"')
			quoted = !quoted;
		if (c && (c != ',' || quoted))
			continue;
		*at = '\0';
		if (*start)
			err = set_option(parser, start);
		if (!c)
			break;
		start = at + 1;
	}
	free(copy);
	return err;
}

/* ---- the command line ---- */

static bool is_mount_helper(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	return strncmp(slash ? slash + 1 : argv0, "mount.", 6) == 0;
}

static unsigned default_threads(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned threads = cores > 0 && cores < (long)KNOT_POOL_THREADS_MAX / 2 ? (unsigned)cores * 2
										: KNOT_POOL_THREADS_MAX;

	if (cores <= 0 || threads < THREADS_DEFAULT_MIN)
		threads = THREADS_DEFAULT_MIN;
	return threads;
}

static int set_switch(struct parser *parser, int letter, bool helper, char **argv)
{
	struct knot_options *options = parser->options;

	switch (letter) {
	case 'h':
		options->help = true;
		return 0;
	case 'V':
		options->version = true;
		return 0;
	case 'f':
		if (helper)
			options->fake = true;
		else
			options->foreground = true;
		return 0;
	case 'N':
		options->name_space = optarg;
		return 0;
	case 'o':
		return set_options(parser, optarg);
	case 'r':
		options->read_only = true;
		return 0;
	case 's':
	case 'n':
	case 'v':
	case 'w':
	case 't':
		return 0;
	case ':':
		return refuse(parser, "%s needs an argument", argv[optind - 1]);
	default:
		return refuse(parser, "unknown argument: %s", argv[optind - 1]);
	}
}

int knot_options_parse(int argc, char **argv, void (*complain)(void *arg, const char *line), void *arg,
		       struct knot_options *options)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	struct parser parser = { .options = options, .complain = complain, .arg = arg };
	bool helper = argc > 0 && is_mount_helper(argv[0]);
	int letter;

	*options = (struct knot_options){ .commit_policy = 1, .threads = default_threads() };
	/* Sloppy must be known before the first -o. */
	for (int i = 1; helper && i < argc; i++)
		if (argv[i][0] == '-' && argv[i][1] != '-' && argv[i][1] != 'o' && strchr(argv[i], 's'))
			parser.sloppy = true;

	optind = 0;
	while ((letter = getopt_long(argc, argv, ":hVfsnvrwo:N:t:", longs, NULL)) != -1) {
		int err = set_switch(&parser, letter, helper, argv);

		if (err)
			return err;
	}
	if (options->help || options->version)
		return 0;
	if (argc - optind < 2)
		return refuse(&parser, "IMAGE and DIR are needed");
	if (argc - optind > 2)
		return refuse(&parser, "one argument too many: %s", argv[optind + 2]);
	options->image = argv[optind];
	options->dir = argv[optind + 1];
	return 0;
}

void knot_options_free(struct knot_options *options)
{
	free(options->fsname);
	free(options->security);
}
