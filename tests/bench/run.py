"""Run benchmarks, and keep their figures in RESULTS.md: `python -m tests.bench.run [names] [--corpora FOLDER]`.

A benchmark is a module with a function `measure(corpora)`, which yields rows.
"""

import argparse
import importlib
import os

from tests.bench.corpora import read_corpora
from tests.bench.table import Row, format_rows, keep_rows

BENCHMARKS = {
    "tokenizer": "tests.bench.bench_tokenizer",
    "model": "tests.bench.model.bench_model",
    "language-model": "tests.bench.model.bench_language_model",
    "training": "tests.bench.model.bench_training",
    "alternatives": "tests.bench.bench_alternatives",
    "gpu": "tests.bench.gpu",
    "job": "tests.bench.bench_job",
    "files": "tests.bench.bench_files",
}


def main() -> None:
    # Threads that wait for others do not spin: on a busy machine, the waiting would be most of what is measured.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch is imported later
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; by default all", metavar="names")
    parser.add_argument("--corpora", help="a folder with ud_pos.parquet, tatoeba.parquet, xquad.parquet")
    args = parser.parse_args()
    if unknown := set(args.names) - set(BENCHMARKS):
        parser.error(f"{', '.join(sorted(unknown))}: expected {', '.join(BENCHMARKS)}")
    corpora = read_corpora(args.corpora)
    all_rows: list[Row] = []
    for name in args.names or BENCHMARKS:
        rows: list[Row] = []
        for row in importlib.import_module(BENCHMARKS[name]).measure(corpora):
            print(f"{name}: {row.what}: {row.figure}", flush=True)
            rows.append(row)
        keep_rows(name, rows, corpora.description, BENCHMARKS)
        all_rows += rows
    print("\n" + format_rows(all_rows))


if __name__ == "__main__":
    main()
