#!/bin/sh
# Asks for the hidden words of prompts, as sentences.c writes them, and says how many answers are right, relation by
# relation: judge.sh RUN PROMPTS. SELFC names the program, if it is not found as selfc.
[ $# = 2 ] || { echo "usage: judge.sh RUN PROMPTS" >&2; exit 2; }
words=$(cut -f1 "$2" | "${SELFC:-selfc}" fill-mask "$1" --k 1 --json) || exit 1
echo "$words" | sed 's/.*"words": \[{"word": "\([^"]*\)".*/\1/' | paste "$2" - | awk -F'\t' '
    { asked[$3]++; right[$3] += tolower($2) == $4 }
    END { for (what in asked) printf "%s: %d of %d, %.1f %%\n", what, right[what], asked[what], 100 * right[what] / asked[what] }' | sort
