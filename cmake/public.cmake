# What users get: libselfc (static and shared), the command line, and how other projects find them.
#
# The static library is one relocatable object with every internal name made local, so that a program that links
# it meets the names of include/selfc.h and no others; the command line is linked with it, which keeps it an
# ordinary user of the public API.

file(GLOB api_sources CONFIGURE_DEPENDS frontend/api*.c)
add_library(selfc_api OBJECT ${api_sources})
target_compile_definitions(selfc_api PRIVATE SELFC_VERSION="${PROJECT_VERSION}")

# The peak is measured with fused multiply-adds; ISO C leaves them out unless asked.
set_source_files_properties(frontend/api_peak.c PROPERTIES COMPILE_OPTIONS "-ffp-contract=fast;-O2")

set(parts selfc_api selfc_frontend selfc_passes selfc_backend selfc_runtime selfc_ir)
set(objects "")
foreach(part ${parts})
    list(APPEND objects $<TARGET_OBJECTS:${part}>)
endforeach()

set(needs selfc_llvm PkgConfig::CJSON PNG::PNG PkgConfig::JPEG PkgConfig::ARCHIVE PkgConfig::UTF8PROC ZLIB::ZLIB Threads::Threads m)

set(single ${CMAKE_BINARY_DIR}/selfc_single.o)
add_custom_command(OUTPUT ${single}
    COMMAND ${CMAKE_LINKER} -r -o ${single} ${objects}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${single}
    DEPENDS ${parts} ${objects} COMMAND_EXPAND_LISTS VERBATIM COMMENT "Joining libselfc into one object")
add_library(selfc_static STATIC ${single})
add_library(selfc_shared SHARED ${objects})
foreach(library selfc_static selfc_shared)
    set_target_properties(${library} PROPERTIES OUTPUT_NAME selfc LINKER_LANGUAGE C
        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
    target_include_directories(${library} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>)
endforeach()
target_link_libraries(selfc_static PUBLIC ${needs})
target_link_libraries(selfc_shared PRIVATE ${needs})

file(GLOB main_sources CONFIGURE_DEPENDS frontend/main*.c frontend/options.c)
add_executable(selfc ${main_sources})
target_link_libraries(selfc PRIVATE selfc_static)

# --- installing ---
include(CMakePackageConfigHelpers)
install(TARGETS selfc RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS selfc_static selfc_shared selfc_runtime
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/selfc.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
file(RELATIVE_PATH pc_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix) # so that an installation can be moved
configure_file(cmake/selfc.pc.in selfc.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/selfc.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_package_config_file(cmake/selfcConfig.cmake.in selfcConfig.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/selfc PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(selfcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/selfcConfig.cmake ${CMAKE_BINARY_DIR}/selfcConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/selfc)
