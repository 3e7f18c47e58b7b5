#!/usr/bin/env bash
# An installed selfc: a C program finds it through pkg-config and through CMake, links, compiles a description and runs
# it; the installed command builds a training program.
. "$(dirname "$0")/common.bash"
build=${SELFC_BUILD:?names the build folder}
command -v pkg-config >/dev/null && command -v cmake >/dev/null || { echo "skipped: wants pkg-config and cmake"; exit 77; }
flags=
[ "${SELFC_SANITIZE:-0}" = 1 ] && flags="-fsanitize=address,undefined"

gives 0 cmake --install "$build" --prefix "$folder/usr"
cat >"$folder/use.c" <<'END'
#include <selfc.h>
#include <string.h>
int main(void) {
    const char text[] = "{\"name\":\"t\",\"functions\":{\"f\":{\"inputs\":{\"a\":[\"n\"]},"
                        "\"layers\":[{\"expr\":\"a * 3\",\"name\":\"b\"}]}}}";
    SelfcModel *model = selfc_open(text, strlen(text), NULL);
    float a[5] = {1, 2, 3, 4, 5}, b[5];
    const void *in[] = {a};
    void *out[] = {b};
    if (!model || selfc_run(model, "f", 5, in, out)) return fprintf(stderr, "%s\n", selfc_error()), 1;
    selfc_close(model);
    return b[4] != 15;
}
END
PKG_CONFIG_PATH=$(dirname "$(find "$folder/usr" -name selfc.pc)")
export PKG_CONFIG_PATH
gives 0 pkg-config --modversion selfc
gives 0 ${CC:-cc} $flags "$folder/use.c" -o "$folder/by_pkgconfig" $(pkg-config --cflags --libs selfc) -Wl,-rpath,"$(dirname "$PKG_CONFIG_PATH")"
gives 0 "$folder/by_pkgconfig"
gives 0 ${CC:-cc} $flags "$folder/use.c" -o "$folder/static" $(pkg-config --cflags selfc) "$(dirname "$PKG_CONFIG_PATH")/libselfc.a" $(pkg-config --static --libs selfc | sed 's/-lselfc//')
gives 0 "$folder/static"

mkdir "$folder/project"
cp "$folder/use.c" "$folder/project"
cat >"$folder/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(use LANGUAGES C)
find_package(selfc 0.1 REQUIRED)
add_executable(use use.c)
target_link_libraries(use PRIVATE selfc::selfc)
END
gives 0 cmake -S "$folder/project" -B "$folder/project/build" -DCMAKE_PREFIX_PATH="$folder/usr" -DCMAKE_C_FLAGS="$flags"
gives 0 cmake --build "$folder/project/build"
gives 0 "$folder/project/build/use"

exported=$(nm -D --defined-only "$(dirname "$PKG_CONFIG_PATH")/libselfc.so" | awk '$2 ~ /[TDB]/ {print $3}' | grep -v '^selfc_')
[ -z "$exported" ] || fail "libselfc.so gives away other names than selfc_*: $exported"
gives 0 "$folder/usr/bin/selfc" build "$model" -o "$folder/trainer"
gives 0 "$folder/trainer" --help
finish
