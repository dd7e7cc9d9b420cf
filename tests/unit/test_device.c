/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/disk/device.h"

#define IMAGE_BYTES (8u << 20)
#define MANY        1500 /* more buffers than one system call takes */

struct image {
	char folder[64];
	char path[96];
};

static int make_image(void **state)
{
	struct image *image = calloc(1, sizeof(*image));
	struct knot_device *device;

	assert_non_null(image);
	strcpy(image->folder, "test_device.XXXXXX");
	assert_non_null(mkdtemp(image->folder));
	snprintf(image->path, sizeof(image->path), "%s/image", image->folder);
	assert_int_equal(knot_device_create_file(image->path, IMAGE_BYTES, &device), 0);
	knot_device_close(device);
	*state = image;
	return 0;
}

static int drop_image(void **state)
{
	struct image *image = *state;

	unlink(image->path);
	rmdir(image->folder);
	free(image);
	return 0;
}

static void *aligned(size_t len_bytes, int fill)
{
	void *buffer = NULL;

	assert_int_equal(posix_memalign(&buffer, 4096, len_bytes), 0);
	memset(buffer, fill, len_bytes);
	return buffer;
}

static void assert_filled(const uint8_t *bytes, size_t len_bytes, int fill)
{
	for (size_t i = 0; i < len_bytes; i++)
		assert_int_equal(bytes[i], fill);
}

/* What every back end that takes writes must do. */
static void check_back_end(struct knot_device *device)
{
	uint8_t *page = aligned(4096, 0xff), *back = aligned(16384, 0);
	struct iovec iov[3] = { { page, 4096 }, { page, 512 }, { page, 0 } };

	assert_int_equal(device->size_bytes, IMAGE_BYTES);
	assert_int_equal(knot_device_read(device, back, 16384, 65536), 0);
	assert_filled(back, 16384, 0);

	assert_int_equal(knot_device_writev(device, iov, 3, 65536), 0);
	assert_int_equal(knot_device_flush(device), 0);
	assert_int_equal(knot_device_read(device, back, 16384, 65536), 0);
	assert_filled(back, 4608, 0xff);
	assert_filled(back + 4608, 16384 - 4608, 0);

	memset(page, 0x11, 4096);
	assert_int_equal(knot_device_write(device, page, 512, 65536 + 1024), 0);
	assert_int_equal(knot_device_read(device, back, 4096, 65536), 0);
	assert_filled(back, 1024, 0xff);
	assert_filled(back + 1024, 512, 0x11);
	assert_filled(back + 1536, 4096 - 1536, 0xff);

	assert_int_equal(knot_device_write(device, page, 4096, IMAGE_BYTES - 4096), 0);
	assert_int_equal(knot_device_write(device, page, 4096, IMAGE_BYTES - 512), -EINVAL);
	assert_int_equal(knot_device_read(device, page, 4096, IMAGE_BYTES), -EINVAL);
	assert_int_equal(knot_device_read(device, page, 512, UINT64_MAX - 511), -EINVAL);
	assert_int_equal(knot_device_write(device, page, 100, 0), -EINVAL);
	free(page);
	free(back);
}

static void memory_keeps_what_is_written(void **state)
{
	struct knot_device *device;

	(void)state;
	assert_int_equal(knot_device_open_memory(IMAGE_BYTES, &device), 0);
	check_back_end(device);
	knot_device_close(device);
}

static void file_keeps_what_is_written(void **state)
{
	const struct image *image = *state;
	struct knot_device *device;

	assert_int_equal(knot_device_open_file(image->path, 0, &device), 0);
	assert_int_equal(device->write_unit_bytes, 4096);
	check_back_end(device);
	knot_device_close(device);

	assert_int_equal(knot_device_open_file(image->path, KNOT_DEVICE_NO_DIRECT, &device), 0);
	uint8_t *page = aligned(4096, 0);
	assert_int_equal(knot_device_read(device, page, 4096, IMAGE_BYTES - 4096), 0);
	assert_filled(page, 4096, 0x11);
	free(page);
	knot_device_close(device);
}

static void file_takes_any_buffer_and_number_of_buffers(void **state)
{
	const struct image *image = *state;
	struct iovec *iov = calloc(MANY, sizeof(*iov));
	uint8_t *bytes = aligned((MANY + 1) * 512, 0), *back = aligned((MANY + 1) * 512, 0);
	struct knot_device *device;

	assert_non_null(iov);
	assert_int_equal(knot_device_open_file(image->path, 0, &device), 0);
	for (int shift = 0; shift < 2; shift++) { /* the second round is not aligned */
		for (int i = 0; i < MANY; i++) {
			iov[i] = (struct iovec){ bytes + i * 512 + shift, 512 };
			memset(iov[i].iov_base, i % 251 + shift, 512);
		}
		assert_int_equal(knot_device_writev(device, iov, MANY, 512), 0);
		assert_int_equal(knot_device_read(device, back + 1, MANY * 512, 512), 0);
		for (int i = 0; i < MANY; i++)
			assert_filled(back + 1 + i * 512, 512, i % 251 + shift);
	}
	knot_device_close(device);
	free(iov);
	free(bytes);
	free(back);
}

static void discard_makes_zeros(void **state)
{
	const struct image *image = *state;
	uint8_t *bytes = aligned(65536, 7);
	struct knot_device *device;

	assert_int_equal(knot_device_open_file(image->path, 0, &device), 0);
	assert_int_equal(knot_device_write(device, bytes, 65536, 0), 0);
	int err = knot_device_discard(device, 4096, 8192);
	if (err != -EOPNOTSUPP) {
		assert_int_equal(err, 0);
		assert_int_equal(knot_device_read(device, bytes, 65536, 0), 0);
		assert_filled(bytes, 4096, 7);
		assert_filled(bytes + 4096, 8192, 0);
		assert_filled(bytes + 12288, 65536 - 12288, 7);
	}
	assert_int_equal(knot_device_discard(device, IMAGE_BYTES, 4096), -EINVAL);
	knot_device_close(device);
	free(bytes);
}

static void second_writer_is_refused(void **state)
{
	const struct image *image = *state;
	struct knot_device *device, *other;

	assert_int_equal(knot_device_open_file(image->path, 0, &device), 0);
	assert_int_equal(knot_device_open_file(image->path, 0, &other), -EBUSY);
	assert_int_equal(knot_device_open_file(image->path, KNOT_DEVICE_READ_ONLY, &other), -EBUSY);
	assert_int_equal(knot_device_open_file(image->path, KNOT_DEVICE_READ_ONLY | KNOT_DEVICE_NO_LOCK, &other), 0);
	knot_device_close(other);
	knot_device_close(device);

	assert_int_equal(knot_device_open_file(image->path, KNOT_DEVICE_READ_ONLY, &device), 0);
	assert_int_equal(knot_device_open_file(image->path, KNOT_DEVICE_READ_ONLY, &other), 0);
	knot_device_close(device);
	assert_int_equal(knot_device_open_file(image->path, 0, &device), -EBUSY);
	knot_device_close(other);
}

static void read_only_takes_no_writes(void **state)
{
	const struct image *image = *state;
	uint8_t *page = aligned(4096, 1);
	struct knot_device *device;

	assert_int_equal(knot_device_open_file(image->path, KNOT_DEVICE_READ_ONLY, &device), 0);
	assert_true(device->read_only);
	assert_int_equal(knot_device_write(device, page, 4096, 0), -EROFS);
	assert_int_equal(knot_device_discard(device, 0, 4096), -EROFS);
	assert_int_equal(knot_device_flush(device), 0);
	knot_device_close(device);
	free(page);
}

static void image_cut_while_open_gives_eio(void **state)
{
	const struct image *image = *state;
	uint8_t *page = aligned(8192, 1);
	struct knot_device *device;

	assert_int_equal(knot_device_open_file(image->path, 0, &device), 0);
	assert_int_equal(truncate(image->path, 4096), 0);
	assert_int_equal(knot_device_read(device, page, 8192, 0), -EIO);
	knot_device_close(device);
	free(page);
}

static void what_is_no_image_is_refused(void **state)
{
	const struct image *image = *state;
	struct knot_device *device;
	char path[96];

	snprintf(path, sizeof(path), "%s/none", image->folder);
	assert_int_equal(knot_device_open_file(path, 0, &device), -ENOENT);
	assert_int_equal(knot_device_open_file(image->folder, KNOT_DEVICE_READ_ONLY, &device), -ENOTBLK);
	assert_int_equal(knot_device_open_file("/dev/null", 0, &device), -ENOTBLK);
	if (mkfifo(path, 0600) == 0) { /* not every file system has them: knotfs for one */
		assert_int_equal(knot_device_open_file(path, 0, &device), -ENOTBLK);
		unlink(path);
	}
	assert_int_equal(knot_device_create_file(image->path, 4096, &device), -EEXIST);
	assert_int_equal(knot_device_create_file(path, 0, &device), -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
	knot_device_close(NULL);
}

/* ---- overlay ---- */

static void overlay_leaves_its_base_alone(void **state)
{
	struct knot_device *base, *overlay;
	uint8_t *page = aligned(4096, 0x33), *back = aligned(12288, 0);

	(void)state;
	assert_int_equal(knot_device_open_memory(IMAGE_BYTES, &base), 0);
	assert_int_equal(knot_device_open_overlay(base, &overlay), 0);
	check_back_end(overlay);
	knot_device_close(overlay);

	for (uint64_t at = 0; at < IMAGE_BYTES; at += 4096) {
		assert_int_equal(knot_device_read(base, back, 4096, at), 0);
		assert_filled(back, 4096, 0);
	}

	assert_int_equal(knot_device_write(base, page, 4096, 4096), 0);
	assert_int_equal(knot_device_open_overlay(base, &overlay), 0);
	memset(page, 0x44, 4096);
	assert_int_equal(knot_device_write(overlay, page, 1024, 4096 + 3584), 0);
	assert_int_equal(knot_device_read(overlay, back, 12288, 0), 0);
	assert_filled(back, 4096, 0);
	assert_filled(back + 4096, 3584, 0x33);
	assert_filled(back + 7680, 1024, 0x44);
	assert_filled(back + 8704, 12288 - 8704, 0);
	assert_int_equal(knot_device_discard(overlay, 0, 4096), -EOPNOTSUPP);
	knot_device_close(overlay);
	knot_device_close(base);
	free(page);
	free(back);
}

static void overlay_covers_an_odd_end(void **state)
{
	struct knot_device *base, *overlay;
	uint8_t *page = aligned(4096, 0x55), *back = aligned(4096, 0);

	(void)state;
	assert_int_equal(knot_device_open_memory(4096 + 1024, &base), 0);
	assert_int_equal(knot_device_open_overlay(base, &overlay), 0);
	assert_int_equal(knot_device_write(overlay, page, 512, 4096 + 512), 0);
	assert_int_equal(knot_device_read(overlay, back, 1024, 4096), 0);
	assert_filled(back, 512, 0);
	assert_filled(back + 512, 512, 0x55);
	knot_device_close(overlay);
	knot_device_close(base);
	free(page);
	free(back);
}

static int refuse_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	(void)device;
	(void)buffer;
	(void)len_bytes;
	(void)at_bytes;
	return -EIO;
}

static void overlay_hides_bad_pages_that_it_covers(void **state)
{
	static const struct knot_device_ops ops = { .read = refuse_read };
	struct knot_device base = { .ops = &ops, .size_bytes = IMAGE_BYTES, .read_only = true }, *overlay;
	uint8_t *page = aligned(4096, 0x66), *back = aligned(8192, 0);

	(void)state;
	assert_int_equal(knot_device_open_overlay(&base, &overlay), 0);
	assert_int_equal(knot_device_write(overlay, page, 4096, 0), 0);
	assert_int_equal(knot_device_read(overlay, back, 4096, 0), 0);
	assert_filled(back, 4096, 0x66);
	assert_int_equal(knot_device_read(overlay, back, 8192, 0), -EIO);
	assert_int_equal(knot_device_write(overlay, page, 512, 4096), -EIO);
	knot_device_close(overlay);
	free(page);
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_keeps_what_is_written),
		cmocka_unit_test_setup_teardown(file_keeps_what_is_written, make_image, drop_image),
		cmocka_unit_test_setup_teardown(file_takes_any_buffer_and_number_of_buffers, make_image, drop_image),
		cmocka_unit_test_setup_teardown(discard_makes_zeros, make_image, drop_image),
		cmocka_unit_test_setup_teardown(second_writer_is_refused, make_image, drop_image),
		cmocka_unit_test_setup_teardown(read_only_takes_no_writes, make_image, drop_image),
		cmocka_unit_test_setup_teardown(image_cut_while_open_gives_eio, make_image, drop_image),
		cmocka_unit_test_setup_teardown(what_is_no_image_is_refused, make_image, drop_image),
		cmocka_unit_test(overlay_leaves_its_base_alone),
		cmocka_unit_test(overlay_covers_an_odd_end),
		cmocka_unit_test(overlay_hides_bad_pages_that_it_covers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
