"""The names of files and directories in the output of a training, and the size of its shards."""

BOOKKEEPING = "_xlm"
EXAMPLES_FOLDER = f"{BOOKKEEPING}/examples"
STATES_FOLDER = f"{BOOKKEEPING}/states"
TRAINING_FILE = f"{BOOKKEEPING}/training.json"
REPORT_FILE = f"{BOOKKEEPING}/report.json"
REPORT_PAGE = f"{BOOKKEEPING}/report.html"
TENSORBOARD_FOLDER = "tensorboard"
SUCCESS = "_SUCCESS"
ROWS_PER_SHARD = 16_384
TOKENIZER_FOLDER = "tokenizer"  # of a learned vocabulary
