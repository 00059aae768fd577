"""Join labels back to their corpus with Ray Data, for corpora that need a cluster.

xlm run jobs/specs/classify.yaml
python examples/join_ray.py
"""

import ray

ray.init(address="local")  # on a cluster: address="auto"

corpus = ray.data.read_parquet("demo-out/corpus").select_columns(["id", "lang", "topic"])
labels = ray.data.read_parquet("demo-out/classify/data").select_columns(["id", "label", "score"])

# Both sides are shuffled by id. Choose as many partitions that one of them, of both sides, fits into the memory of a
# process. Rows that were rejected have no label.
labelled = corpus.join(labels, join_type="left_outer", num_partitions=2, on=("id",)).materialize()

labelled.write_parquet("demo-out/labelled")
for row in labelled.take(5):
    print(row)
