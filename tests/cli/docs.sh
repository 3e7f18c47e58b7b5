#!/usr/bin/env bash
# The pages that are made from tables are what the tables say today. --update writes them.
. "$(dirname "$0")/common.bash"
page() { # file, command that prints it
    local file=$source_dir/docs/$1
    shift
    "$@" >"$folder/page" || fail "$* failed"
    if [ "${update:-}" ]; then cp "$folder/page" "$file"; fi
    cmp -s "$folder/page" "$file" || fail "$file is not what '$*' prints; tests/cli/docs.sh --update writes it"
}
case "$*" in *--update*) update=1 ;; esac
page commands.md "$selfc" help markdown
page language.md "$selfc" help language
finish
