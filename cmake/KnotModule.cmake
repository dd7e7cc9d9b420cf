# SPDX-License-Identifier: MIT
# A folder of sources is a static library, and a program when one of its files has a main().

# knot_library(NAME SOURCES file... LINK library...)
# Without sources it becomes an INTERFACE library, so that a folder of headers alone configures too.
function(knot_library name)
	cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
	if(ARG_SOURCES)
		add_library(${name} STATIC ${ARG_SOURCES})
		target_link_libraries(${name} PUBLIC knot_flags ${ARG_LINK})
	else()
		add_library(${name} INTERFACE)
		target_link_libraries(${name} INTERFACE knot_flags ${ARG_LINK})
	endif()
endfunction()

# knot_module(NAME LINK library...): the library of all *.c in the current folder.
function(knot_module name)
	cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
	file(GLOB sources CONFIGURE_DEPENDS *.c)
	knot_library(${name} SOURCES ${sources} LINK ${ARG_LINK})
endfunction()

# knot_program_module(PROGRAM LIBRARY LINK library...): the file with main() is the program, the rest the library,
# which tests link too.
function(knot_program_module program library)
	cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
	file(GLOB sources CONFIGURE_DEPENDS *.c)
	set(mains)
	foreach(source IN LISTS sources)
		file(STRINGS ${source} has_main REGEX "^int main *\\(" LIMIT_COUNT 1)
		if(has_main)
			list(APPEND mains ${source})
			list(REMOVE_ITEM sources ${source})
		endif()
	endforeach()

	knot_library(${library} SOURCES ${sources} LINK ${ARG_LINK})
	if(mains)
		add_executable(${program} ${mains})
		target_link_libraries(${program} PRIVATE ${library})
	endif()
endfunction()
