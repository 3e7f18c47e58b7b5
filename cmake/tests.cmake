# Every tests/test_*.c is a program and a test; scripts and oracles follow. A test links the libraries of the folders
# that it includes, so that it can be built while another folder is broken.
#
# Labels: exhaustive (all 2^32 inputs of each elementary function; minutes), oracle (PyTorch; skipped where missing).
enable_testing()

function(selfc_test_libraries result source)
    set(libraries "")
    foreach(folder frontend passes backend runtime ir)
        file(STRINGS ${source} found REGEX "^#include \"${folder}/" LIMIT_COUNT 1)
        if(found)
            list(APPEND libraries selfc_${folder})
        endif()
    endforeach()
    file(STRINGS ${source} found REGEX "^#include \"tests/random_graph.h\"" LIMIT_COUNT 1)
    if(found)
        list(PREPEND libraries selfc_random_graph)
    endif()
    file(STRINGS ${source} found REGEX "^#include \"(include/)?selfc.h\"" LIMIT_COUNT 1)
    if(found)
        list(PREPEND libraries selfc_static)
    endif()
    set(${result} ${libraries} PARENT_SCOPE)
endfunction()

function(selfc_test_program name source)
    selfc_test_libraries(libraries ${source})
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE ${libraries} m)
    target_compile_definitions(${name} PRIVATE SELFC_SOURCE_DIR="${CMAKE_SOURCE_DIR}" SELFC_BINARY_DIR="${CMAKE_BINARY_DIR}")
endfunction()

# What scripts and tests may ask for.
set(environment
    SELFC=$<TARGET_FILE:selfc> SELFC_BUILD=${CMAKE_BINARY_DIR} SELFC_SOURCE=${CMAKE_SOURCE_DIR}
    SELFC_LIBRARY=$<TARGET_FILE:selfc_shared> SELFC_SANITIZE=$<BOOL:${SELFC_SANITIZE}>
    XDG_CACHE_HOME=${CMAKE_BINARY_DIR}/cache ASAN_OPTIONS=detect_leaks=1:abort_on_error=0)
function(selfc_add_test name)
    add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600 ENVIRONMENT "${environment}")
endfunction()

if(EXISTS ${CMAKE_SOURCE_DIR}/tests/random_graph.c)
    add_library(selfc_random_graph STATIC tests/random_graph.c)
    target_link_libraries(selfc_random_graph PUBLIC selfc_passes selfc_ir)
endif()

file(GLOB sources CONFIGURE_DEPENDS tests/test_*.c)
foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    selfc_test_program(${name} ${source})
    selfc_add_test(${name} ${name})
endforeach()

file(GLOB sources CONFIGURE_DEPENDS tests/selfc_*.c)
foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    selfc_test_program(${name} ${source})
endforeach()

if(EXISTS ${CMAKE_SOURCE_DIR}/tests/exhaustive_ulp.c)
    selfc_test_program(exhaustive_ulp tests/exhaustive_ulp.c)
    selfc_add_test(ulp_quick exhaustive_ulp --quick)
    selfc_add_test(ulp_exhaustive exhaustive_ulp)
    set_tests_properties(ulp_exhaustive PROPERTIES LABELS exhaustive TIMEOUT 7200)
endif()

if(SELFC_FUZZ)
    file(GLOB sources CONFIGURE_DEPENDS tests/fuzz_*.c)
    foreach(source ${sources})
        get_filename_component(name ${source} NAME_WE)
        selfc_test_program(${name} ${source})
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    endforeach()
endif()

find_program(BASH bash REQUIRED)
file(GLOB scripts CONFIGURE_DEPENDS tests/*.sh tests/cli/*.sh)
foreach(script ${scripts})
    get_filename_component(name ${script} NAME_WE)
    file(RELATIVE_PATH place ${CMAKE_SOURCE_DIR}/tests ${script})
    if(place MATCHES "^cli/")
        set(name cli_${name})
    endif()
    selfc_add_test(${name} ${BASH} ${script} $<TARGET_FILE:selfc>)
endforeach()

# The oracles need PyTorch; SELFC_PYTHON names an interpreter that has it.
set(SELFC_PYTHON "python3" CACHE STRING "Python for the tests against PyTorch")
file(GLOB scripts CONFIGURE_DEPENDS tests/oracle_*.py)
foreach(script ${scripts})
    get_filename_component(name ${script} NAME_WE)
    selfc_add_test(${name} ${SELFC_PYTHON} ${script})
    set_tests_properties(${name} PROPERTIES LABELS oracle)
endforeach()
