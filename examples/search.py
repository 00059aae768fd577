"""Search an embedded corpus: print the texts whose vectors are most similar to that of a query.

xlm run jobs/specs/embed.yaml
python examples/search.py "Will it rain tomorrow?" --lang en
"""

import argparse

import duckdb

from xlm_core import XLM

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("query")
parser.add_argument("--lang", required=True, help="the language of the query")
parser.add_argument("--output", default="demo-out/embed", help="the output of a feature-extraction job")
parser.add_argument("--checkpoint", default="builtin://small", help="the checkpoint of that job")
args = parser.parse_args()

# The same checkpoint, layer and pooling as in the job. Both normalize, so the dot product is the cosine similarity.
query = XLM.from_pretrained(args.checkpoint).embed([args.query], lang=[args.lang], layer=1)[0]

# DuckDB reads the parts in parallel and keeps only the best rows, so the corpus need not fit into memory. This exact
# search reads every vector: a core takes about 8 s per million vectors of 1,024 numbers. For many queries per second,
# load the vectors into an index, such as DuckDB's extension vss or FAISS.
width = len(query)
best = duckdb.execute(
    f"""
    SELECT round(array_inner_product(embedding::FLOAT[{width}], $query::FLOAT[{width}]), 3) AS similarity, lang, text
    FROM read_parquet($parts)
    ORDER BY similarity DESC
    LIMIT 5
    """,
    {"query": query.tolist(), "parts": f"{args.output}/data/*.parquet"},
)
for similarity, lang, text in best.fetchall():
    print(f"{similarity:.3f}  {lang}  {text}")
