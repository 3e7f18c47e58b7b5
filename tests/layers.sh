#!/bin/sh
# Prints every #include that goes against the layering: folders may include what the picture in the README shows, cJSON
# stays in frontend/, LLVM in backend/. Only the public API in frontend/api*.c sees everything; the command line sees it alone.
cd "$(dirname "$0")/.." || exit 1

may_include() { # folder -> the starts of what it may include
    case $1 in
    ir) echo 'ir/' ;;
    passes) echo 'ir/|passes/' ;;
    frontend) echo 'ir/|frontend/' ;;
    backend) echo 'ir/|backend/|runtime/abi\.h' ;;
    runtime) echo 'runtime/' ;;
    esac
}

files_of() { find "$1" -name '*.[ch]' -o -name '*.def'; }

bad=0
report() { # what is wrong, then the lines on stdin
    while read -r line; do
        echo "$line    <- $1"
        bad=1
    done
}

for folder in ir passes frontend backend runtime; do
    found=$(files_of $folder | grep -Ev '^frontend/(main[a-z_]*|options|api[a-z_]*)\.[ch]$' | xargs -r grep -Hn '^ *# *include "' |
        grep -Ev "include \"($(may_include $folder))")
    [ -z "$found" ] || report "$folder/ may not see this" <<END
$found
END
done

found=$(grep -Hn '^ *# *include "' frontend/main*.[ch] frontend/options.c | grep -Ev 'include "(include/selfc|frontend/(options|main))\.')
[ -z "$found" ] || report "the command line may see the public API alone" <<END
$found
END

for rule in 'cjson|cJSON:frontend' 'llvm-c/:backend'; do
    library=${rule%:*} home=${rule#*:}
    found=$(for folder in ir passes frontend backend runtime include; do
        [ $folder = "$home" ] || files_of $folder
    done | xargs -r grep -HnE "^ *# *include .*($library)")
    [ -z "$found" ] || report "only $home/ may see this" <<END
$found
END
done
exit $bad
