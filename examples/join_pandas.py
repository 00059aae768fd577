"""Join labels back to their corpus with pandas, for corpora that fit into memory.

xlm run jobs/specs/classify.yaml
python examples/join_pandas.py
"""

import pandas as pd

# Read only the columns that are needed. `id` is `input.id` of the job.
corpus = pd.read_parquet("demo-out/corpus", columns=["id", "lang", "topic"])
labels = pd.read_parquet("demo-out/classify/data", columns=["id", "label", "score"])
rejected = pd.read_parquet("demo-out/classify/_xlm/rejected", columns=["id", "reason"])

# Every row of the corpus has a label or a reason why it was rejected, so left joins keep all of them. `validate` checks
# that no id is repeated.
rows = corpus.merge(labels, on="id", how="left", validate="1:1").merge(rejected, on="id", how="left", validate="1:1")
assert (rows["label"].isna() == rows["reason"].notna()).all()

rows["correct"] = rows["label"] == rows["topic"]
print(
    rows.groupby("lang", dropna=False).agg(rows=("id", "size"), labelled=("label", "count"), correct=("correct", "sum"))
)
print(rows["reason"].value_counts())
