/* SPDX-License-Identifier: MIT */
#include "vfs_fixture.h"

#include <dirent.h>

static void a_new_volume_has_an_empty_root(void **state)
{
	struct knot_attr root = attr_of(*state, ROOT);

	assert_true(S_ISDIR(root.mode));
	assert_int_equal(knot_attr_nlink(&root), 2);
	assert_int_equal(root.size, 0);
}

static void a_created_file_is_found_and_survives_reopening(void **state)
{
	struct knot_attr attr, root;
	uint64_t inode;

	assert_int_equal(make_file(*state, ROOT, "file", &inode), 0);
	assert_int_equal(find(*state, ROOT, "file", &attr), 0);
	assert_int_equal(attr.inode, inode);
	assert_int_equal(attr.links, 1);
	assert_int_equal(attr.mode, S_IFREG | 0644);
	fixture_reopen(*state);
	assert_int_equal(find(*state, ROOT, "file", &attr), 0);
	assert_int_equal(attr.inode, inode);
	root = attr_of(*state, ROOT);
	assert_int_equal(root.size, 1);
	assert_true(root.mtime.sec == attr.ctime.sec);
	assert_int_equal(find(*state, ROOT, "fil", &attr), -ENOENT);
}

static void what_fsync_covered_survives_a_cut_and_later_changes_may_not(void **state)
{
	struct fixture *fixture = *state;
	uint64_t inode;

	assert_int_equal(make_file(fixture, ROOT, "a", &inode), 0);
	assert_int_equal(knot_vfs_fsync(fixture->volume, NULL, inode, false), 0);
	assert_int_equal(make_file(fixture, ROOT, "b", NULL), 0);
	fixture_cut(fixture);
	assert_true(number_of(fixture, ROOT, "a") == inode);
	assert_true(number_of(fixture, ROOT, "b") == 0);
	assert_int_equal(make_file(fixture, ROOT, "c", NULL), 0);
	assert_int_equal(knot_vfs_fsyncdir(fixture->volume, NULL, ROOT), 0);
	fixture_cut(fixture);
	assert_true(number_of(fixture, ROOT, "c") != 0);
}

static void names_are_checked(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	char name[257];
	uint64_t file;

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(make_file(fixture, ROOT, name, NULL), -ENAMETOOLONG);
	assert_int_equal(find(fixture, ROOT, name, &attr), -ENAMETOOLONG);
	name[255] = '\0';
	assert_int_equal(make_file(fixture, ROOT, name, NULL), 0);
	assert_int_equal(find(fixture, ROOT, name, &attr), 0);
	assert_int_equal(make_file(fixture, ROOT, name, NULL), -EEXIST);
	assert_int_equal(make_file(fixture, ROOT, "", NULL), -ENOENT);
	assert_int_equal(make_file(fixture, ROOT, ".", NULL), -EINVAL);
	assert_int_equal(make_dir(fixture, ROOT, "..", NULL), -EINVAL);
	assert_int_equal(make_file(fixture, ROOT, "a/b", NULL), -EINVAL);
	assert_int_equal(knot_vfs_mkdir(fixture->volume, NULL, ROOT, "a\0b", 3, 0755, &attr), -EINVAL);
	assert_int_equal(unlink_name(fixture, ROOT, ".."), -EINVAL);
	assert_int_equal(make_file(fixture, ROOT, "file", &file), 0);
	assert_int_equal(make_file(fixture, file, "x", NULL), -ENOTDIR);
	assert_int_equal(find(fixture, file, "x", &attr), -ENOTDIR);
	assert_int_equal(make_file(fixture, 999999, "x", NULL), -ESTALE);
	assert_int_equal(make_file(fixture, 0, "x", NULL), -ESTALE);
	assert_int_equal(attr_of(fixture, ROOT).size, 2);
}

static void dot_and_dot_dot_are_found_for_nfs(void **state)
{
	struct knot_attr attr;
	uint64_t dir, file;

	assert_int_equal(make_dir(*state, ROOT, "d", &dir), 0);
	assert_int_equal(make_file(*state, dir, "f", &file), 0);
	assert_int_equal(find(*state, dir, ".", &attr), 0);
	assert_int_equal(attr.inode, dir);
	assert_int_equal(find(*state, dir, "..", &attr), 0);
	assert_int_equal(attr.inode, ROOT);
	assert_int_equal(find(*state, ROOT, "..", &attr), 0);
	assert_int_equal(attr.inode, ROOT);
	assert_int_equal(find(*state, file, ".", &attr), 0);
	assert_int_equal(find(*state, file, "..", &attr), -ENOTDIR);
}

static void directories_count_their_subdirectories(void **state)
{
	struct knot_attr attr;
	uint64_t dir;

	assert_int_equal(make_dir(*state, ROOT, "d", &dir), 0);
	assert_int_equal(make_dir(*state, dir, "one", NULL), 0);
	assert_int_equal(make_dir(*state, dir, "two", NULL), 0);
	assert_int_equal(make_file(*state, dir, "three", NULL), 0);
	attr = attr_of(*state, dir);
	assert_int_equal(knot_attr_nlink(&attr), 4);
	assert_int_equal(attr.size, 3);
	assert_int_equal(rmdir_name(*state, ROOT, "d"), -ENOTEMPTY);
	assert_int_equal(rmdir_name(*state, dir, "three"), -ENOTDIR);
	assert_int_equal(unlink_name(*state, dir, "one"), -EISDIR);
	assert_int_equal(rmdir_name(*state, dir, "one"), 0);
	assert_int_equal(rmdir_name(*state, dir, "one"), -ENOENT);
	assert_int_equal(rmdir_name(*state, dir, "two"), 0);
	attr = attr_of(*state, dir);
	assert_int_equal(knot_attr_nlink(&attr), 2);
	assert_int_equal(unlink_name(*state, dir, "three"), 0);
	assert_int_equal(hold(*state, ROOT, "d", &attr), 0);
	assert_int_equal(rmdir_name(*state, ROOT, "d"), 0);
	attr = attr_of(*state, dir);
	assert_int_equal(knot_attr_nlink(&attr), 0);
	let_go(*state, dir);
	attr = attr_of(*state, ROOT);
	assert_int_equal(knot_attr_nlink(&attr), 2);
}

static void nothing_is_created_in_a_removed_directory(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr dir, other;
	uint64_t file;

	assert_int_equal(make_dir(fixture, ROOT, "d", NULL), 0);
	assert_int_equal(make_file(fixture, ROOT, "f", &file), 0);
	assert_int_equal(hold(fixture, ROOT, "d", &dir), 0);
	assert_int_equal(rmdir_name(fixture, ROOT, "d"), 0);
	assert_int_equal(make_file(fixture, dir.inode, "x", NULL), -ENOENT);
	assert_int_equal(make_dir(fixture, dir.inode, "x", NULL), -ENOENT);
	assert_int_equal(knot_vfs_link(fixture->volume, NULL, file, dir.inode, "x", 1, &other), -ENOENT);
	assert_int_equal(rename_name(fixture, ROOT, "f", dir.inode, "x", 0), -ENOENT);
	assert_int_equal(attr_of(fixture, dir.inode).links, 0);
	let_go(fixture, dir.inode);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, dir.inode, &other), -ESTALE);
}

static void ownership_umask_and_setgid_are_inherited(void **state)
{
	struct fixture *fixture = *state;
	struct knot_request request = { .uid = 10, .gid = 20, .umask = 027 };
	struct knot_attr attr, wanted = { .mode = 02775, .gid = 77 };
	uint64_t dir;

	assert_int_equal(make_dir(fixture, ROOT, "d", &dir), 0);
	assert_int_equal(knot_vfs_setattr(fixture->volume, NULL, dir, KNOT_SET_MODE | KNOT_SET_GID, &wanted, &attr), 0);
	assert_int_equal(knot_vfs_mknod(fixture->volume, &request, dir, "f", 1, S_IFREG | 0666, 0, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0640);
	assert_int_equal(attr.uid, 10);
	assert_int_equal(attr.gid, 77);
	assert_int_equal(knot_vfs_mkdir(fixture->volume, &request, dir, "s", 1, 0777, &attr), 0);
	assert_int_equal(attr.mode, S_IFDIR | 02750);
	assert_int_equal(knot_vfs_mknod(fixture->volume, &request, ROOT, "g", 1, S_IFREG | 0666, 0, &attr), 0);
	assert_int_equal(attr.gid, 20);
}

static void special_files_keep_type_and_device(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;

	assert_int_equal(knot_vfs_mknod(fixture->volume, NULL, ROOT, "c", 1, S_IFCHR | 0600, 0x0102, &attr), 0);
	assert_int_equal(knot_vfs_mknod(fixture->volume, NULL, ROOT, "p", 1, S_IFIFO | 0600, 99, &attr), 0);
	assert_int_equal(knot_vfs_mknod(fixture->volume, NULL, ROOT, "d", 1, S_IFDIR | 0600, 0, &attr), -EPERM);
	assert_int_equal(knot_vfs_mknod(fixture->volume, NULL, ROOT, "l", 1, S_IFLNK | 0600, 0, &attr), -EINVAL);
	fixture_reopen(fixture);
	assert_int_equal(find(fixture, ROOT, "c", &attr), 0);
	assert_int_equal(attr.rdev, 0x0102);
	assert_true(S_ISCHR(attr.mode));
	assert_int_equal(find(fixture, ROOT, "p", &attr), 0);
	assert_int_equal(attr.rdev, 0);
}

static void symlinks_hold_up_to_4095_bytes(void **state)
{
	static const size_t sizes[] = { 1, 60, 700, 900, 2000, 4095 };
	struct fixture *fixture = *state;
	char target[4096], read[4096], name[8];
	struct knot_attr attr;

	for (size_t i = 0; i < sizeof(target); i++)
		target[i] = (char)('a' + i % 26);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(name, sizeof(name), "l%u", i);
		assert_int_equal(knot_vfs_symlink(fixture->volume, NULL, ROOT, name, 2, target, sizes[i], &attr), 0);
		assert_int_equal(attr.mode, S_IFLNK | 0777);
		assert_int_equal(attr.size, sizes[i]);
	}
	assert_int_equal(knot_vfs_symlink(fixture->volume, NULL, ROOT, "x", 1, target, 4096, &attr), -ENAMETOOLONG);
	assert_int_equal(knot_vfs_symlink(fixture->volume, NULL, ROOT, "x", 1, target, 0, &attr), -ENOENT);
	fixture_reopen(fixture);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t len_bytes = sizeof(read);

		snprintf(name, sizeof(name), "l%u", i);
		assert_int_equal(
			knot_vfs_readlink(fixture->volume, NULL, number_of(fixture, ROOT, name), read, &len_bytes), 0);
		assert_int_equal(len_bytes, sizes[i]);
		assert_memory_equal(read, target, sizes[i]);
	}
	size_t room = sizeof(read);

	assert_int_equal(knot_vfs_readlink(fixture->volume, NULL, ROOT, read, &room), -EINVAL);
}

static void hard_links_share_the_inode(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	uint64_t file, dir;

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	assert_int_equal(make_dir(fixture, ROOT, "d", &dir), 0);
	assert_int_equal(knot_vfs_link(fixture->volume, NULL, file, dir, "b", 1, &attr), 0);
	let_go(fixture, file);
	assert_int_equal(attr.links, 2);
	assert_int_equal(knot_vfs_link(fixture->volume, NULL, file, dir, "b", 1, &attr), -EEXIST);
	assert_int_equal(knot_vfs_link(fixture->volume, NULL, dir, ROOT, "e", 1, &attr), -EPERM);
	put_text(fixture, file, "shared");
	assert_int_equal(unlink_name(fixture, ROOT, "a"), 0);
	fixture_reopen(fixture);
	assert_int_equal(number_of(fixture, dir, "b"), file);
	assert_text(fixture, file, "shared");
	assert_int_equal(attr_of(fixture, file).links, 1);
	assert_int_equal(unlink_name(fixture, dir, "b"), 0);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, file, &attr), -ESTALE);
}

static void links_end_at_65000(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	uint64_t file;
	char name[16];

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	for (unsigned i = 1; i < 65000; i++) {
		int len_bytes = snprintf(name, sizeof(name), "l%u", i);

		if (knot_vfs_link(fixture->volume, NULL, file, ROOT, name, (size_t)len_bytes, &attr))
			fail();
	}
	assert_int_equal(attr.links, 65000);
	assert_int_equal(knot_vfs_link(fixture->volume, NULL, file, ROOT, "more", 4, &attr), -EMLINK);
}

static void attributes_change_as_asked_and_ctime_with_them(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr wanted = {
		.mode = 04751,
		.uid = 5,
		.gid = 6,
		.size = 10000,
		.atime = { .sec = -7, .nsec = 999999999 },
		.mtime = { .sec = 1LL << 40, .nsec = 1 },
		.flags = 0x20,
		.project = 9,
	};
	struct knot_attr attr, before;
	uint64_t file;

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	before = attr_of(fixture, file);
	assert_int_equal(knot_vfs_setattr(fixture->volume, NULL, file,
					  KNOT_SET_MODE | KNOT_SET_UID | KNOT_SET_GID | KNOT_SET_ATIME |
						  KNOT_SET_MTIME | KNOT_SET_SIZE | KNOT_SET_FLAGS | KNOT_SET_PROJECT,
					  &wanted, &attr),
			 0);
	fixture_reopen(fixture);
	attr = attr_of(fixture, file);
	assert_int_equal(attr.mode, S_IFREG | 04751);
	assert_int_equal(attr.uid, 5);
	assert_int_equal(attr.gid, 6);
	assert_int_equal(attr.size, 10000);
	assert_true(attr.atime.sec == -7 && attr.atime.nsec == 999999999);
	assert_true(attr.mtime.sec == 1LL << 40 && attr.mtime.nsec == 1);
	assert_int_equal(attr.flags, 0x20);
	assert_int_equal(attr.project, 9);
	assert_true(attr.ctime.sec > before.ctime.sec);
	assert_true(attr.change > before.change);
	assert_int_equal(
		knot_vfs_setattr(fixture->volume, NULL, file, KNOT_SET_KILL_SUID | KNOT_SET_UID, &wanted, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0751);
	wanted.mtime.nsec = 1000000000;
	assert_int_equal(knot_vfs_setattr(fixture->volume, NULL, file, KNOT_SET_MTIME, &wanted, &attr), -EINVAL);
	assert_int_equal(knot_vfs_setattr(fixture->volume, NULL, ROOT, KNOT_SET_SIZE, &wanted, &attr), -EISDIR);
}

static void times_set_on_a_file_with_pending_data_stay(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr wanted = { .mtime = { .sec = 77, .nsec = 7 } }, attr;
	uint64_t file;

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	put_text(fixture, file, "hello");
	assert_int_equal(knot_vfs_setattr(fixture->volume, NULL, file, KNOT_SET_MTIME, &wanted, &attr), 0);
	assert_int_equal(knot_vfs_fsync(fixture->volume, NULL, file, false), 0);
	fixture_cut(fixture);
	attr = attr_of(fixture, file);
	assert_true(attr.mtime.sec == 77 && attr.mtime.nsec == 7);
	assert_int_equal(attr.size, 5);
	assert_text(fixture, file, "hello");
}

static void reading_updates_the_access_time_as_relatime_does(void **state)
{
	struct fixture *fixture = *state;
	struct knot_time first, second;
	uint64_t file;

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	put_text(fixture, file, "hello");
	assert_text(fixture, file, "hello");
	first = attr_of(fixture, file).atime;
	assert_true(first.sec > attr_of(fixture, file).mtime.sec);
	assert_text(fixture, file, "hello");
	second = attr_of(fixture, file).atime;
	assert_true(first.sec == second.sec);
	fixture_reopen(fixture);
	assert_true(attr_of(fixture, file).atime.sec == first.sec);
	fixture->clock_sec += 24 * 60 * 60;
	assert_text(fixture, file, "hello");
	assert_true(attr_of(fixture, file).atime.sec > first.sec);
}

/* ---- readdir ---- */

struct listing {
	unsigned room, count, with_attr;
	uint64_t next_offset;
	char names[4000][12];
	struct fixture *fixture;
};

static int take(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type, uint64_t next_offset,
		const struct knot_attr *attr)
{
	struct listing *listing = arg;

	assert_true(inode && type);
	if (listing->count == listing->room)
		return 1;
	if (name_bytes < sizeof(listing->names[0]))
		memcpy(listing->names[listing->count], name, name_bytes);
	listing->count++;
	listing->with_attr += attr != NULL;
	assert_true(!attr || attr->inode == inode);
	assert_true(next_offset > listing->next_offset);
	listing->next_offset = next_offset;
	return 0;
}

/* List all, `step` entries a call; returns how many. */
static unsigned list(struct fixture *fixture, uint64_t dir, unsigned step, bool with_attributes,
		     struct listing *listing)
{
	unsigned before;

	memset(listing, 0, sizeof(*listing));
	do {
		before = listing->count;
		listing->room = before + step;
		assert_int_equal(knot_vfs_readdir(fixture->volume, NULL, dir, listing->next_offset, with_attributes,
						  take, listing),
				 0);
	} while (listing->count > before);
	return listing->count;
}

static void listings_hold_every_entry_once(void **state)
{
	static struct listing listing;
	static bool seen[3000];
	struct fixture *fixture = *state;
	uint64_t dir;
	char name[16];

	assert_int_equal(make_dir(fixture, ROOT, "d", &dir), 0);
	assert_int_equal(list(fixture, dir, 10, false, &listing), 2);
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(make_file(fixture, dir, name, NULL), 0);
	}
	assert_int_equal(list(fixture, dir, 1, false, &listing), 3002);
	assert_string_equal(listing.names[0], ".");
	assert_string_equal(listing.names[1], "..");
	assert_int_equal(list(fixture, dir, 37, false, &listing), 3002);
	fixture_reopen(fixture);
	assert_int_equal(list(fixture, dir, 100000, true, &listing), 3002);
	assert_int_equal(listing.with_attr, 3000);
	memset(seen, 0, sizeof(seen));
	for (unsigned i = 2; i < 3002; i++) {
		unsigned number = (unsigned)atoi(listing.names[i] + 1);

		assert_false(seen[number]);
		seen[number] = true;
	}
}

static void a_listing_goes_on_while_entries_come_and_go(void **state)
{
	static struct listing listing;
	struct fixture *fixture = *state;
	uint64_t dir;
	char name[16];

	assert_int_equal(make_dir(fixture, ROOT, "d", &dir), 0);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(make_file(fixture, dir, name, NULL), 0);
	}
	memset(&listing, 0, sizeof(listing));
	for (unsigned before = 1; before != listing.count;) {
		before = listing.count;
		listing.room = before + 5;
		assert_int_equal(
			knot_vfs_readdir(fixture->volume, NULL, dir, listing.next_offset, false, take, &listing), 0);
		for (unsigned i = before; i < listing.count; i++) {
			if (listing.names[i][0] != 'n')
				continue;
			assert_int_equal(unlink_name(fixture, dir, listing.names[i]), 0);
		}
	}
	assert_int_equal(listing.count, 202);
	assert_int_equal(attr_of(fixture, dir).size, 0);
	assert_int_equal(rmdir_name(fixture, ROOT, "d"), 0);
}

static void listed_attributes_count_as_lookups(void **state)
{
	static struct listing listing;
	struct fixture *fixture = *state;
	struct knot_attr attr;
	uint64_t file;

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	assert_int_equal(list(fixture, ROOT, 10, true, &listing), 3);
	assert_int_equal(unlink_name(fixture, ROOT, "a"), 0);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, file, &attr), 0);
	assert_int_equal(attr.links, 0);
	let_go(fixture, file);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, file, &attr), -ESTALE);
	assert_int_equal(knot_vfs_readdir(fixture->volume, NULL, file, 0, false, take, &listing), -ESTALE);
}

/* ---- space, read-only, threads ---- */

static void long_name(char *name, unsigned number)
{
	memset(name, 'x', 200);
	name[snprintf(name, 16, "%08u", number)] = 'x';
	name[200] = '\0';
}

static void a_full_volume_says_so_and_removing_makes_room(void **state)
{
	struct fixture fixture;
	char name[208];
	unsigned made = 0, again = 0;
	int err = 0;

	(void)state;
	fixture_make(&fixture, 16 << 20);
	while (!err) {
		long_name(name, made);
		err = make_file(&fixture, ROOT, name, NULL);
		made += !err;
	}
	assert_int_equal(err, -ENOSPC);
	assert_true(made > 5000);
	assert_int_equal(attr_of(&fixture, ROOT).size, made);
	for (unsigned i = 0; i < made; i++) {
		long_name(name, i);
		assert_int_equal(unlink_name(&fixture, ROOT, name), 0);
	}
	assert_int_equal(attr_of(&fixture, ROOT).size, 0);
	for (err = 0; !err && again < made;) {
		long_name(name, again);
		err = make_file(&fixture, ROOT, name, NULL);
		again += !err;
	}
	assert_true(again > made - made / 20);
	fixture_reopen(&fixture);
	assert_int_equal(attr_of(&fixture, ROOT).size, again);
	fixture_free(&fixture);
}

static void a_read_only_volume_answers_and_refuses_changes(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr, wanted = { .mode = 0600 };
	uint64_t file;

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	put_text(fixture, file, "text");
	assert_int_equal(knot_vfs_syncfs(fixture->volume, NULL), 0);
	knot_volume_abandon(fixture->volume);
	fixture->options.read_only = true;
	fixture_open(fixture);
	assert_true(knot_volume_is_read_only(fixture->volume));
	assert_int_equal(number_of(fixture, ROOT, "a"), file);
	assert_text(fixture, file, "text");
	assert_int_equal(make_file(fixture, ROOT, "b", NULL), -EROFS);
	assert_int_equal(unlink_name(fixture, ROOT, "a"), -EROFS);
	assert_int_equal(knot_vfs_setattr(fixture->volume, NULL, file, KNOT_SET_MODE, &wanted, &attr), -EROFS);
	assert_int_equal(knot_vfs_write(fixture->volume, NULL, file, 0, 1, "x", false), -EROFS);
	assert_int_equal(knot_vfs_fsync(fixture->volume, NULL, file, false), 0);
	fixture_close(fixture);
	fixture->options.read_only = false;
	fixture_open(fixture);
	assert_int_equal(number_of(fixture, ROOT, "a"), file);
}

static void many_inodes_pass_through_a_small_memory(void **state)
{
	struct fixture *fixture = *state;
	uint64_t numbers[3000];
	char name[16];

	fixture_close(fixture);
	fixture->options.cache_bytes = 1 << 20;
	fixture_open(fixture);
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(make_file(fixture, ROOT, name, &numbers[i]), 0);
	}
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(number_of(fixture, ROOT, name), numbers[i]);
		assert_int_equal(attr_of(fixture, numbers[i]).links, 1);
	}
}

static void no_volume_is_refused_with_one_line(void **state)
{
	struct fixture fixture = { 0 };

	(void)state;
	fixture.messages = (struct knot_messages){ .emit = fixture_emit, .arg = &fixture };
	fixture.options.messages = &fixture.messages;
	assert_int_equal(knot_device_open_memory(16 << 20, &fixture.device), 0);
	fixture.options.device = fixture.device;
	assert_true(knot_volume_open(&fixture.options, &fixture.volume) < 0);
	assert_int_equal(fixture.errors_said, 1);
	knot_device_close(fixture.device);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
#define STRICT_TEST(function)                                                                    \
	{                                                                                        \
		"data_strict_" #function, function, fixture_setup_strict, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_volume_has_an_empty_root),
		TEST(a_created_file_is_found_and_survives_reopening),
		TEST(what_fsync_covered_survives_a_cut_and_later_changes_may_not),
		TEST(names_are_checked),
		TEST(dot_and_dot_dot_are_found_for_nfs),
		TEST(directories_count_their_subdirectories),
		TEST(nothing_is_created_in_a_removed_directory),
		TEST(ownership_umask_and_setgid_are_inherited),
		TEST(special_files_keep_type_and_device),
		TEST(symlinks_hold_up_to_4095_bytes),
		TEST(hard_links_share_the_inode),
		TEST(links_end_at_65000),
		TEST(attributes_change_as_asked_and_ctime_with_them),
		TEST(times_set_on_a_file_with_pending_data_stay),
		TEST(reading_updates_the_access_time_as_relatime_does),
		TEST(listings_hold_every_entry_once),
		TEST(a_listing_goes_on_while_entries_come_and_go),
		TEST(listed_attributes_count_as_lookups),
		cmocka_unit_test(a_full_volume_says_so_and_removing_makes_room),
		TEST(a_read_only_volume_answers_and_refuses_changes),
		TEST(many_inodes_pass_through_a_small_memory),
		cmocka_unit_test(no_volume_is_refused_with_one_line),
		STRICT_TEST(what_fsync_covered_survives_a_cut_and_later_changes_may_not),
		STRICT_TEST(symlinks_hold_up_to_4095_bytes),
		STRICT_TEST(times_set_on_a_file_with_pending_data_stay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
