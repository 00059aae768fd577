"""Join labels back to their corpus with DuckDB, for corpora that are larger than memory but fit on one machine.

xlm run jobs/specs/classify.yaml
python examples/join_duckdb.py
"""

import duckdb

# DuckDB reads only the columns that a query names, and spills joins to disk. It reads s3:// paths as well.
duckdb.sql("CREATE VIEW corpus AS FROM read_parquet('demo-out/corpus/*.parquet')")
duckdb.sql("CREATE VIEW labels AS FROM read_parquet('demo-out/classify/data/*.parquet')")
duckdb.sql("CREATE VIEW rejected AS FROM read_parquet('demo-out/classify/_xlm/rejected/*.parquet')")

print(
    duckdb.sql(
        """
        SELECT corpus.lang, count(*) AS rows, count(label) AS labelled, count_if(label = corpus.topic) AS correct
        FROM corpus LEFT JOIN labels USING (id)  -- a row without a label was rejected
        GROUP BY ALL ORDER BY ALL
        """
    )
)
print(duckdb.sql("SELECT reason, count(*) AS rows FROM rejected GROUP BY ALL ORDER BY ALL"))

# Write the corpus with its labels. The column of texts is not copied here, because one of the demo's texts is not valid
# UTF-8, which DuckDB refuses to read.
duckdb.sql(
    """
    COPY (SELECT corpus.* EXCLUDE text, label, score FROM corpus JOIN labels USING (id))
    TO 'demo-out/labelled.parquet' (FORMAT parquet)
    """
)
