# SPDX-License-Identifier: MIT
# What `cmake --install` puts where.

foreach(program knotfs mkfs.knotfs fsck.knotfs)
	if(TARGET ${program})
		install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
	endif()
endforeach()
if(TARGET knotctl)
	install(TARGETS knotctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# mount(8) looks for mount.TYPE, and for mount.fuse.SUBTYPE by way of mount.fuse.
if(TARGET knotfs)
	file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
	foreach(helper mount.knotfs mount.fuse.knotfs)
		file(CREATE_LINK knotfs ${CMAKE_BINARY_DIR}/bin/${helper} SYMBOLIC)
		install(FILES ${CMAKE_BINARY_DIR}/bin/${helper} DESTINATION ${CMAKE_INSTALL_SBINDIR})
	endforeach()
endif()

foreach(section 1 5 8)
	file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.${section})
	install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

file(GLOB completions CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/completions/*)
install(FILES ${completions} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
