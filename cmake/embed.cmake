# Run at build time: writes OUT, a C file that holds FILES (frontend/library/*.json) as frontend/library.h declares them.
set(data "")
set(table "")
set(count 0)
foreach(file ${FILES})
    file(READ ${file} bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    get_filename_component(name ${file} NAME)
    string(APPEND data "static const char file_${count}[] = {${bytes}0};\n")
    string(APPEND table "    {\"library/${name}\", file_${count}},\n")
    math(EXPR count "${count} + 1")
endforeach()
file(WRITE ${OUT} "/* Made by cmake/embed.cmake. */\n#include \"frontend/library.h\"\n\n${data}\n"
    "const LibraryFile library_files[] = {\n${table}    {0, 0},\n};\nconst uint32_t library_file_count = ${count};\n")
