# SPDX-License-Identifier: MIT
# How everything here is compiled. Release builds keep assert(): a file system that finds a bug of its own stops.

if(NOT CMAKE_BUILD_TYPE)
	set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

add_library(knot_flags INTERFACE)
target_include_directories(knot_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(knot_flags INTERFACE
	_GNU_SOURCE _FILE_OFFSET_BITS=64 KNOT_VERSION="${PROJECT_VERSION}")
target_compile_options(knot_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion)

if(KNOT_WERROR)
	target_compile_options(knot_flags INTERFACE -Werror)
endif()

if(KNOT_SANITIZE)
	target_compile_options(knot_flags INTERFACE
		-fsanitize=${KNOT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
	target_link_options(knot_flags INTERFACE -fsanitize=${KNOT_SANITIZE})
	set(KNOT_TIMEOUT_SCALE 5)
else()
	set(KNOT_TIMEOUT_SCALE 1)
	target_compile_options(knot_flags INTERFACE -fstack-protector-strong)
	if(CMAKE_BUILD_TYPE MATCHES "^Rel")
		target_compile_options(knot_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
	endif()
endif()

if(KNOT_COVERAGE)
	target_compile_options(knot_flags INTERFACE --coverage)
	target_link_options(knot_flags INTERFACE --coverage)
endif()
