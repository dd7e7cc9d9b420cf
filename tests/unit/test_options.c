/* SPDX-License-Identifier: MIT */
/* The command line of knotfs and of mount.knotfs. */
#include "fs/fuse/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#define ARGUMENTS_MAX 16

struct result {
	int err;
	char line[512];
	struct knot_options options;
};

static void keep(void *arg, const char *line)
{
	struct result *result = arg;

	snprintf(result->line, sizeof(result->line), "%s", line);
}

/* Parse a command line whose words are separated by single blanks. `words` is written to. */
static struct result parse(char *words)
{
	struct result result = { 0 };
	char *argv[ARGUMENTS_MAX + 1] = { 0 };
	char *save = NULL;
	int argc = 0;

	for (char *word = strtok_r(words, " ", &save); word && argc < ARGUMENTS_MAX; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	result.err = knot_options_parse(argc, argv, keep, &result, &result.options);
	return result;
}

static void defaults_are_those_of_the_manual(void **state)
{
	char words[] = "knotfs a.img /mnt";
	struct result r = parse(words);

	(void)state;
	assert_int_equal(r.err, 0);
	assert_string_equal(r.options.image, "a.img");
	assert_string_equal(r.options.dir, "/mnt");
	assert_int_equal(r.options.commit_policy, 1);
	assert_int_equal(r.options.mount_flags, 0);
	assert_false(r.options.read_only || r.options.foreground || r.options.writeback || r.options.strict ||
		     r.options.noatime || r.options.allow_other);
	assert_in_range(r.options.threads, 8, 64);
	knot_options_free(&r.options);
}

static void every_option_is_understood(void **state)
{
	char words[] = "knotfs -f a.img /mnt -o ro,allow_other,cache=1G,log_buffer=4096K,flush_log_at_commit=2 "
		       "-o commit=30,data=strict,writeback,noatime,threads=3,fsname=x";
	struct result r = parse(words);

	(void)state;
	assert_int_equal(r.err, 0);
	assert_true(r.options.foreground && r.options.read_only && r.options.allow_other && r.options.strict &&
		    r.options.writeback && r.options.noatime);
	assert_int_equal(r.options.cache_bytes, 1u << 30);
	assert_int_equal(r.options.log_buffer_bytes, 4u << 20);
	assert_int_equal(r.options.commit_policy, 2);
	assert_int_equal(r.options.commit_seconds, 30);
	assert_int_equal(r.options.threads, 3);
	assert_string_equal(r.options.fsname, "x");
	knot_options_free(&r.options);
}

static void the_last_of_two_opposites_counts(void **state)
{
	char words[] = "knotfs a.img /mnt -o ro,noatime,data=strict,nosuid,rw,relatime,data=ordered,suid";
	struct result r = parse(words);

	(void)state;
	assert_int_equal(r.err, 0);
	assert_false(r.options.read_only || r.options.noatime || r.options.strict);
	assert_int_equal(r.options.mount_flags, 0);
	knot_options_free(&r.options);
}

static void options_of_mount_are_mapped_or_ignored(void **state)
{
	char words[] = "mount.knotfs a.img /mnt -n -v -o rw,nosuid,nodev,noexec,dirsync,nofail,_netdev,x-y.z=1,"
		       "defaults,noauto,comment=hi,user=jo,X-mount.mkdir";
	struct result r = parse(words);

	(void)state;
	assert_int_equal(r.err, 0);
	assert_int_equal(r.options.mount_flags, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_DIRSYNC);
	knot_options_free(&r.options);
}

static void user_implies_three_flags_that_can_be_taken_back(void **state)
{
	char words[] = "mount.knotfs a.img /mnt -o user,exec";
	struct result r = parse(words);

	(void)state;
	assert_int_equal(r.err, 0);
	assert_int_equal(r.options.mount_flags, MS_NOSUID | MS_NODEV);
	knot_options_free(&r.options);
}

static void f_means_fake_to_a_mount_helper(void **state)
{
	char plain[] = "/sbin/knotfs -f a.img /mnt";
	char helper[] = "/sbin/mount.fuse.knotfs -f a.img /mnt";
	struct result r = parse(plain);

	(void)state;
	assert_true(r.options.foreground && !r.options.fake);
	knot_options_free(&r.options);
	r = parse(helper);
	assert_true(r.options.fake && !r.options.foreground);
	knot_options_free(&r.options);
}

static void a_sloppy_mount_ignores_what_nobody_knows(void **state)
{
	char words[] = "mount.knotfs a.img /mnt -o bogus,cache=2M -s";
	struct result r = parse(words);

	(void)state;
	assert_int_equal(r.err, 0);
	assert_int_equal(r.options.cache_bytes, 2u << 20);
	knot_options_free(&r.options);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *words, *line;
	} table[] = {
		{ "knotfs a.img /mnt -o ro,bogus", "unknown option: bogus" },
		{ "knotfs a.img /mnt -o bogus=1", "unknown option: bogus" },
		{ "knotfs a.img /mnt -o r", "unknown option: r" },
		{ "knotfs a.img /mnt -o ro=1", "option ro takes no value" },
		{ "knotfs a.img /mnt -o cache", "option cache needs a value" },
		{ "knotfs a.img /mnt -o cache=", "option cache: '' is not a size" },
		{ "knotfs a.img /mnt -o cache=1X", "option cache: '1X' is not a size" },
		{ "knotfs a.img /mnt -o cache=-1", "option cache: '-1' is not a size" },
		{ "knotfs a.img /mnt -o cache=99999999999999T", "option cache: '99999999999999T' is not a size" },
		{ "knotfs a.img /mnt -o cache=5", "option cache: at least 1024 KiB" },
		{ "knotfs a.img /mnt -o flush_log_at_commit=3",
		  "option flush_log_at_commit: '3' is not a number from 0 to 2" },
		{ "knotfs a.img /mnt -o commit=0", "option commit: '0' is not a number from 1 to 3600" },
		{ "knotfs a.img /mnt -o threads=65", "option threads: '65' is not a number from 1 to 64" },
		{ "knotfs a.img /mnt -o data=x", "option data: 'x' is neither ordered nor strict" },
		{ "knotfs a.img", "IMAGE and DIR are needed" },
		{ "knotfs a.img /mnt b", "one argument too many: b" },
		{ "knotfs a.img /mnt -o", "-o needs an argument" },
		{ "knotfs a.img /mnt -x", "unknown argument: -x" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char words[128];
		struct result r;

		snprintf(words, sizeof(words), "%s", table[i].words);
		r = parse(words);
		assert_int_equal(r.err, -EINVAL);
		assert_string_equal(r.line, table[i].line);
		knot_options_free(&r.options);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_manual),
		cmocka_unit_test(every_option_is_understood),
		cmocka_unit_test(the_last_of_two_opposites_counts),
		cmocka_unit_test(options_of_mount_are_mapped_or_ignored),
		cmocka_unit_test(user_implies_three_flags_that_can_be_taken_back),
		cmocka_unit_test(f_means_fake_to_a_mount_helper),
		cmocka_unit_test(a_sloppy_mount_ignores_what_nobody_knows),
		cmocka_unit_test(what_is_wrong_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
