#!/usr/bin/env bash
# The encoder as an object: its features of bytes are those of `selfc run`, to the bit, and what examples/simclr/search.c
# makes of files are the pictures, and so the features, of `selfc embed`.
. "$(dirname "$0")/common.bash"
simclr=$source_dir/examples/simclr
cc=${CC:-cc}
command -v "$cc" >/dev/null && command -v python3 >/dev/null || { echo "skipped: wants $cc and python3"; exit 77; }
cd "$folder" || exit 1

# Pictures of all kinds: small and large ones, with a hole, for print, and held on its side.
cat >samples.c <<'CODE'
#define main search_main
#include "search.c"
#undef main

static unsigned char colour(int x, int y, int c) { return (unsigned char)(x * (3 + c) + y * (7 - 2 * c) + x * y / 5 + 40 * c); }

static void write_png(const char *path, int width, int height, int parts) {
    png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = parts == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB};
    unsigned char *pixels = must(malloc((size_t)width * height * parts));
    for (int i = 0; i < width * height * parts; i++) pixels[i] = colour(i / parts % width, i / parts / width, i % parts);
    if (!png_image_write_to_file(&image, path, 0, pixels, 0, NULL)) exit(3);
    free(pixels);
}

static void write_jpeg(const char *path, int width, int height, int parts, int orientation) {
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char exif[] = {'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    unsigned char *row = must(malloc((size_t)width * parts));
    FILE *out = must(fopen(path, "wb"));
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_stdio_dest(&info, out);
    info.image_width = width, info.image_height = height, info.input_components = parts;
    info.in_color_space = parts == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_start_compress(&info, TRUE);
    exif[24] = (unsigned char)orientation;
    if (orientation) jpeg_write_marker(&info, JPEG_APP0 + 1, exif, sizeof exif);
    while (info.next_scanline < info.image_height) {
        for (int i = 0; i < width * parts; i++) row[i] = colour(i / parts, info.next_scanline, i % parts);
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    fclose(out);
    free(row);
}

int main(int count, char **arguments) {
    static unsigned char pictures[64][HEIGHT * WIDTH * 3];
    static float features[64][FEATURES];
    if (count == 1) {
        write_png("files/small.png", 10, 14, 3);
        write_png("files/narrow.png", 15, 60, 3);
        write_png("files/hole.png", 41, 33, 4);
        write_png("files/same.png", WIDTH, HEIGHT, 3);
        write_jpeg("files/tiny.jpg", 9, 20, 3, 0);
        write_jpeg("files/large.jpg", 400, 300, 3, 0);
        write_jpeg("files/turned.jpg", 260, 110, 3, 6);
        write_jpeg("files/print.jpg", 70, 50, 4, 0);
        return 0;
    }
    for (int i = 1; i < count; i++) {
        Picture picture;
        if (!read_picture(arguments[i], &picture)) return fprintf(stderr, "cannot read %s\n", arguments[i]), 4;
        fit(&picture, pictures[i - 1]);
        free(picture.pixels);
    }
    void *workspace = must(malloc(SIMCLR_ENCODE_WORKSPACE(64) + 1));
    if (simclr_encode(pictures[0], features[0], (size_t)count - 1, workspace)) return 5;
    FILE *bytes = must(fopen("pictures.raw", "wb")), *out = must(fopen("features.raw", "wb"));
    fwrite(pictures, sizeof *pictures, (size_t)count - 1, bytes);
    fwrite(features, sizeof *features, (size_t)count - 1, out);
    free(workspace);
    return fclose(bytes) || fclose(out);
}
CODE
small=(--set let.size=24 --set let.box=32 --set let.width=4 --set training.batch=2)
mkdir files
python3 - <<'PYTHON'
import struct, zlib
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
for i in range(2):
    rows = b"".join(b"\0" + bytes((x * y * (i + 3) + c * 60) % 256 for x in range(30) for c in range(3)) for y in range(40))
    open(f"files/first{i}.png", "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 30, 40, 8, 2, 0, 0, 0)) +
                                            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
PYTHON
gives 0 "$selfc" train "$simclr/album.json" --data files "${small[@]}" --steps 3 --quiet --out run
gives 0 "$selfc" build run -o encoder.o --function encode
gives 0 "$cc" -O1 -I. -I"$simclr" samples.c encoder.o -ljpeg -lpng -lm -o samples
[ $failures = 0 ] || finish
gives 0 ./samples

# The same bits from the object and the program in memory, whatever the file was.
body() { tail -c +$((11 + $(od -An -tu2 -j8 -N2 "$1"))) "$1"; } # of a .npy file
gives 0 "$selfc" embed run --data files -o embedded.npy
mapfile -t names < <(sed 's|^.*/||; s|^|files/|' embedded.files.txt)
[ ${#names[@]} = 10 ] || fail "embed read ${#names[@]} of 10 files: $(cat "$folder/err")"
for i in "${!names[@]}"; do
    gives 0 ./samples "${names[i]}"
    cmp -s features.raw <(body embedded.npy | tail -c +$((1 + i * 128)) | head -c 128) || fail "${names[i]} has other features than embed gives"
done
gives 0 ./samples "${names[@]}"
cmp -s features.raw <(body embedded.npy) || fail "all at once have other features than embed gives"
python3 - <<'PYTHON'
header = "{'descr': '|u1', 'fortran_order': False, 'shape': (10, 24, 24, 3), }".ljust(117) + "\n"
open("pictures.npy", "wb").write(b"\x93NUMPY\1\0" + bytes([118, 0]) + header.encode() + open("pictures.raw", "rb").read())
PYTHON
gives 0 "$selfc" run run encode --input pictures.npy --output features=ran.npy
cmp -s features.raw <(body ran.npy) || fail "the object and run differ"

# What training would skip is no picture here, either; and it is said before the folder is read.
gives 0 "$cc" -O1 -I. "$simclr/search.c" encoder.o -ljpeg -lpng -lm -o search
head -c 3000 files/large.jpg >files/cut.jpg
gives 1 ./search files/cut.jpg files; says "cut.jpg is no picture"; [ -s out ] && fail "it has found something all the same"
gives 0 ./search files/print.jpg files page.html; says "cut.jpg is no picture"
[ "$(wc -l <out)" = 10 ] || fail "not all others were found: $(cat out)" # and the page
printf 'x' >files/alone.png
gives 1 ./search files/cut.jpg files; grep -q alone err && fail "the folder was read for nothing"
finish
