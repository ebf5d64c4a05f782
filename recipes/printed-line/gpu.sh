#!/usr/bin/env bash
# Trains printed-line on a machine that has PyTorch (2.9 or newer), NumPy and Pillow, and reaches nothing else.
#
#   gpu.sh pack DIR                     here: puts all that training needs, at most 60 MB, into DIR
#   gpu.sh train DIR MINUTES OUT […]    over there, as DIR/recipe/gpu.sh; further options are train.py's
#
# `pack` takes fonts, texts and documents from Debian packages (packages.txt) and three wheels; PYTHON names the
# Python that has the package and its `recipes` extra, PACKAGES where unpacked documents are or go.
# `train` renders on every core, trains, validates on the tuning lines and on rendered lines in unseen fonts, and leaves
# last.pt, log.jsonl, best/ and final/ in OUT. It may be killed: the same command goes on from last.pt, which is written
# every two minutes. MINUTES counts training alone; starting and validating come on top.
set -euo pipefail

most_megabytes=60
python=${PYTHON:-python3}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

pack() {
    local dir root packages wheel bytes
    root=$(cd "$here/../.." && pwd)
    packages=${PACKAGES:-$root/outputs/packages}
    mkdir -p "$1"/{source,fonts,wheels}
    dir=$(cd "$1" && pwd)
    rm -rf "$dir/recipe" "$dir/source/vision2seq"
    cp -R "$here" "$dir/recipe"
    cp -R "$root/src/vision2seq" "$dir/source/"
    # Weights that nobody needs there, and code compiled here, which serves reading alone.
    rm -rf "$dir/source/vision2seq/bundled"
    find "$dir" \( -name __pycache__ -o -name '*.so' \) -not -path "$dir/wheels/*" -prune -exec rm -rf {} +

    "$python" "$here/texts.py" --out "$dir/corpus.txt"
    # The held-out families lie among the others; training passes them over by name.
    "$python" "$here/fonts.py" --copy "$dir/fonts" --subset >/dev/null
    "$python" "$here/fonts.py" --copy "$dir/fonts" --subset --held-out >/dev/null
    local tune=(--split tune --dpi 100 150 200 300 --limit 160 --download "$packages")
    "$python" "$here/documents.py" "${tune[@]}" --out "$dir/tune"
    "$python" "$here/documents.py" "${tune[@]}" --out "$dir/tune-degraded" --degraded

    # Pure copies of the wheels: these serve every Python from 3.10 on, on the same kind of processor.
    "$python" -m pip download --quiet --no-deps --only-binary :all: --constraint "$root/constraints.txt" \
        --dest "$dir/wheels" safetensors tokenizers tqdm
    for wheel in "$dir"/wheels/*.whl; do
        "$python" -m zipfile -e "$wheel" "$dir/wheels"
        rm "$wheel"
    done

    bytes=$(find "$dir" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
    echo "$dir: $((bytes / 1000000)) MB" >&2
    if ((bytes > most_megabytes * 1000000)); then
        echo "That is more than $most_megabytes MB. Shorten corpus.txt: texts.py shuffles each source." >&2
        exit 1
    fi
}

train() {
    local dir
    dir=$(cd "$1" && pwd)
    if [[ ! -d $dir/fonts || ! -d $dir/wheels ]]; then
        echo "$dir holds no fonts or no wheels; make it with: gpu.sh pack DIR" >&2
        exit 1
    fi
    export PYTHONPATH=$dir/wheels:$dir/source PYTHONDONTWRITEBYTECODE=1
    exec "$python" "$dir/recipe/train.py" --corpus "$dir/corpus.txt" --fonts "$dir/fonts" --out "$3" \
        --minutes "$2" --bf16 --workers "$(nproc)" --validate "$dir/tune" --validate "$dir/tune-degraded" \
        --held-out --every 2 "${@:4}"
}

case ${1:-} in
    pack) (($# == 2)) || usage; pack "$2" ;;
    train) (($# >= 4)) || usage; train "${@:2}" ;;
    *) usage ;;
esac
