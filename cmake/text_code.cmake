# Run at build time: compiles SOURCE to assembly and writes OUT, a C file that holds it as backend/text_code.h declares.
# What is compiled must need nothing; names stay inside of the object that the text joins.
set(flags -std=c17 -O2 -S -I${SOURCE_DIR} -fPIC -ffreestanding -fno-builtin -fno-stack-protector
    -fno-asynchronous-unwind-tables -g0)
if(FAMILY STREQUAL "GNU") # else it makes calls of memset out of loops
    list(APPEND flags -fno-tree-loop-distribute-patterns)
endif()
if(ARCHITECTURE MATCHES "x86_64")
    list(APPEND flags -fcf-protection=none)
endif()
execute_process(
    COMMAND ${COMPILER} ${flags} ${SOURCE_DIR}/runtime/text/text_code.c -o ${OUT}.s
    RESULT_VARIABLE failed ERROR_VARIABLE message)
if(failed)
    message(FATAL_ERROR "runtime/text/text_code.c: ${message}")
endif()
file(READ ${OUT}.s text)
string(REGEX REPLACE "\n[ \t]*\\.(globl|hidden|ident|file|section[ \t]+\\.note)[^\n]*" "" text "\n${text}")
file(WRITE ${OUT}.s "${text}")
file(READ ${OUT}.s bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "/* Made by cmake/text_code.cmake. */\n#include \"backend/text_code.h\"\n\n"
    "const char text_code[] = {${bytes}0};\nconst char *const text_code_architecture = \"${ARCHITECTURE}\";\n")
