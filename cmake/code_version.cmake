# Run at build time: writes OUT, which defines SELFC_CODE_VERSION as the hash of the sources that decide what machine
# code looks like. The cache of machine code is keyed by it, so that a changed compiler never runs old code.
file(GLOB sources ${SOURCE_DIR}/ir/*.[ch] ${SOURCE_DIR}/ir/*.def ${SOURCE_DIR}/backend/*.[ch] ${SOURCE_DIR}/backend/*.def
     ${SOURCE_DIR}/runtime/abi.h)
list(SORT sources)
set(hashes "")
foreach(source ${sources})
    file(SHA256 ${source} hash)
    string(APPEND hashes ${hash})
endforeach()
string(SHA256 hash "${hashes}")
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define SELFC_CODE_VERSION \"${hash}\"\n")
