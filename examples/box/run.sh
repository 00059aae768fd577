#!/usr/bin/env bash
# Train and test the checkpoint in the box: examples/box/run.sh DATA FOLDER. Runs again from where it was interrupted.
# DATA has tatoeba.parquet, ud_pos.parquet, xquad.parquet and xcopa.parquet; FOLDER gets FOLDER/small.
set -euo pipefail
recipe=$(cd "$(dirname "$0")" && pwd) data=$(cd "$1" && pwd)
mkdir -p "$2" && cd "$2"
[ -d data ] || { python "$recipe/prepare.py" "$data" incomplete && mv incomplete data; }
xlm train "$recipe/vocabulary.yaml"
xlm train "$recipe/training.yaml"
calibrate() { xlm calibrate "$recipe/test_$1.yaml" --set "input.path=$2" --gold "$2" --gold-column "$3"; }
calibrate languages data/languages_dev/ language
calibrate upos data/words_dev/ upos
for test in languages upos embeddings english; do
    xlm run "$recipe/test_$test.yaml"
done
mkdir -p eval
xlm eval test/languages --gold data/tatoeba_test/ --gold-column lang --lang lang --json > eval/languages.json
xlm eval test/upos --gold data/words_test/ --gold-column upos --json > eval/upos.json
xlm eval test/embeddings --gold test/english --json > eval/embeddings.json
python "$recipe/write_card.py"
