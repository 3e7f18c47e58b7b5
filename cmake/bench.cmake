# Programs that benchmarks build when they need them: `cmake --build … --target bench_conv`.
foreach(name conv attention)
    add_executable(bench_${name} EXCLUDE_FROM_ALL bench/${name}.c bench/alone.c)
    target_link_libraries(bench_${name} PRIVATE selfc_passes selfc_backend selfc_runtime selfc_ir)
endforeach()
add_executable(bench_tokenize EXCLUDE_FROM_ALL bench/tokenize.c)
target_link_libraries(bench_tokenize PRIVATE selfc_runtime)
add_executable(bench_embedding EXCLUDE_FROM_ALL bench/embedding.c)
target_link_libraries(bench_embedding PRIVATE selfc_passes selfc_backend selfc_runtime selfc_ir)
