#!/usr/bin/env bash
# Makes printed-line from nothing: texts, tuning lines, training, the exported checkpoint, its errors on tuning lines.
#
#   build.sh OUT [MINUTES]        MINUTES of training, 105 if not given
#
# Fonts and texts come from the Debian packages in packages.txt. Killed, the same command goes on where it was.
# PYTHON names the Python that has the package and its `recipes` extra; further options for train.py may stand in TRAIN.
set -euo pipefail

faces_expected=341
(($# == 1 || $# == 2)) || { sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
python=${PYTHON:-python3}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)

faces=$("$python" "$here/fonts.py" 2>/dev/null | wc -l)
if ((faces != faces_expected)) || ! command -v pdftotext >/dev/null; then
    echo "Found $faces of $faces_expected font faces, or no pdftotext. On Debian 12:" >&2
    echo "apt-get install --no-install-recommends" $(cat "$here/packages.txt") >&2
    exit 1
fi

[[ -e $out/corpus.txt ]] || "$python" "$here/texts.py" --out "$out/corpus.txt"
if [[ ! -e $out/tune/manifest.jsonl ]]; then
    "$python" "$here/documents.py" --split tune --dpi 100 150 200 300 --limit 600 --out "$out/tune" \
        --download "$out/packages"
fi
if [[ ! -e $out/tune-degraded/manifest.jsonl ]]; then
    "$python" "$here/documents.py" --split tune --dpi 200 --limit 400 --degraded --out "$out/tune-degraded" \
        --download "$out/packages"
fi
"$python" "$here/train.py" --corpus "$out/corpus.txt" --out "$out/run" --minutes "${2:-105}" --bf16 --threads 1 \
    --validate "$out/tune" --validate "$out/tune-degraded" --held-out --every 12 ${TRAIN:-}
"$python" "$here/evaluate.py" --model "$out/run/final" --held-out --confusions "$out/tune" "$out/tune-degraded"
echo "The checkpoint is $out/run/final" >&2
