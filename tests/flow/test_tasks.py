"""What every task writes, against the library run on each row by itself; the real stages, without Ray between them."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.errors import FatalError
from tests.flow.heads import LABELS, write_checkpoints
from tests.flow.in_process import read_output, read_rejected, run_stages, run_to_records
from xlm_core import (
    POOLINGS,
    MultipleChoiceHead,
    PackedBatch,
    QuestionAnsweringHead,
    QuestionAnsweringSimpleHead,
    SequenceClassificationHead,
    XLMModel,
    XLMTokenizer,
    XLMWithLMHeadModel,
)

Row = dict[str, Any]


@pytest.fixture(scope="session")
def parts(demo, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    write_checkpoints(demo, folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(parts) -> XLMTokenizer:
    return XLMTokenizer.from_pretrained(parts / "lm", ja="fugashi")


@pytest.fixture
def run_rows(make_job, parts, tmp_path):
    """Run a job over rows, and give its output by id, and its table."""

    def run(rows: list[Row], tasks: list[Any], text: Any = "text", **changes: Any) -> dict[str, Row]:
        number = len(list(tmp_path.glob("in-*.parquet")))
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"in-{number}.parquet")
        spec = {"path": str(tmp_path / f"in-{number}.parquet"), "id": "id", "text": text, "lang": "lang"}
        settings = {"output__path": str(tmp_path / f"out-{number}"), "output__rows_per_shard": 40} | changes
        job = make_job(
            input=spec, model={"checkpoint": str(parts / "lm")} | settings.pop("model", {}), tasks=tasks, **settings
        )
        run.records = run_to_records(job)
        run.path = job.output.path
        run.table = read_output(job.output.path)
        return {row["id"]: row for row in run.table.to_pylist()}

    return run


@pytest.fixture(scope="session")
def rows(corpus) -> list[Row]:
    """40 sentences of 17 languages, some of them twice."""
    picked = [row for row in corpus if row["lang"] != "ja"][::9][:36]
    return picked + [row | {"id": f"again-{row['id']}"} for row in picked[:4]]


def alone(tokenizer: XLMTokenizer, row: Row, *texts: str, **settings: Any) -> PackedBatch:
    found = tokenizer.encode_batch(texts[:1], [row["lang"]], *([texts[1:]] if len(texts) > 1 else []), **settings)
    langs = [tokenizer.lang2id[tokenizer.resolve_lang(row["lang"])]] * len(found)
    return PackedBatch.from_ragged(found.input_ids, found.cu_seqlens, langs)


@torch.inference_mode()
def test_embeddings_of_any_layer_cut_packed_and_rounded(run_rows, rows, parts, tokenizer):
    model = XLMModel.from_pretrained(parts / "lm")
    spec = {"layer": [0, -1], "pooling": "mean", "truncate_dim": 24}
    floats = run_rows(rows, [{"feature-extraction": spec}])
    sample = run_rows.path
    signs = run_rows(rows, [{"feature-extraction": spec | {"dtype": "binary"}}])
    bits = run_rows.table.schema.field("embedding")
    rounded = run_rows(rows, [{"feature-extraction": spec | {"dtype": "int8", "calibration": sample}}])
    about = {key.decode(): value.decode() for key, value in run_rows.table.schema.field("embedding").metadata.items()}
    low, high = np.array(json.loads(about["int8_low"])), np.array(json.loads(about["int8_high"]))
    assert (bits.type.list_size, bits.metadata[b"dim"]) == (3, b"24")
    for row in rows:
        batch = alone(tokenizer, row, row["text"])
        _, states = model.forward_packed(batch, output_hidden_states=True)
        vector = POOLINGS["mean"]((states[0] + states[-1]) / 2, batch.cu_seqlens)[0, :24]
        expected = torch.nn.functional.normalize(vector, dim=0).numpy()
        found = np.array(floats[row["id"]]["embedding"])
        assert np.abs(found - expected).max() < 2e-5
        assert signs[row["id"]]["embedding"] == np.packbits(found > 0).tolist()
        back = (np.array(rounded[row["id"]]["embedding"]) + 128) / 255 * (high - low) + low
        assert (np.abs(back - found) <= (high - low) / 255 * 0.51).all()


@torch.inference_mode()
def test_long_rows_are_read_in_windows(run_rows, rows, parts, tokenizer):
    """A row's vector is the mean over its windows, or there is one for each."""
    model = XLMModel.from_pretrained(parts / "lm")
    settings = {"tokenizer__max_length": 16, "tokenizer__on_overflow": "window", "tokenizer__overlap_tokens": 4}
    tasks = [
        {"feature-extraction": {"normalize": False}},
        {"feature-extraction": {"normalize": False, "windows": "each", "name": "w"}},
    ]
    found = run_rows(rows, tasks, **settings)
    many = 0
    for row in rows:
        batch = alone(tokenizer, row, row["text"], max_length=16, overlap=4)
        vectors = POOLINGS["mean"](model.forward_packed(batch), batch.cu_seqlens).numpy()
        assert np.abs(np.array(found[row["id"]]["w_embeddings"]) - vectors).max() < 2e-5
        mean = np.average(vectors, axis=0, weights=batch.lengths)
        assert np.abs(np.array(found[row["id"]]["embedding"]) - mean).max() < 2e-5
        many += len(vectors) > 2
    assert many > 10


@torch.inference_mode()
def test_one_label_several_and_values(run_rows, rows, parts, tokenizer):
    heads = {name: str(parts / "heads" / name) for name in ("topic", "several", "values")}
    tasks = [
        {"text-classification": {"head": heads["topic"], "scores": True}},
        {"text-classification": {"head": heads["several"], "problem": "multi-label", "threshold": 0.6, "name": "m"}},
        {"text-classification": {"head": heads["values"], "problem": "regression", "name": "r"}},
    ]
    found = run_rows(rows, tasks)
    trunk = XLMModel.from_pretrained(parts / "lm")
    loaded = {name: SequenceClassificationHead.from_pretrained(path) for name, path in heads.items()}
    sizes = set()
    for row in rows:
        batch, out = alone(tokenizer, row, row["text"]), found[row["id"]]
        logits = {n: h.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens)[0] for n, h in loaded.items()}
        assert np.abs(np.array(out["scores"]) - logits["topic"].softmax(0).numpy()).max() < 1e-4
        assert out["label"] == LABELS["topic"][int(logits["topic"].argmax())]
        several = logits["several"].sigmoid()
        expected = sorted(((s, LABELS["topic"][i]) for i, s in enumerate(several.tolist()) if s >= 0.6), reverse=True)
        assert [pair["label"] for pair in out["m_labels"]] == [label for _, label in expected]
        sizes.add(len(expected))
        assert np.abs(np.array(out["r_values"]) - logits["values"].numpy()).max() < 1e-4
    assert len(sizes) > 1


def test_words_and_entities_stitched_over_windows(run_rows, rows, parts):
    """Windows leave no word out, double none and cut no entity; every span is the text it names."""
    head = str(parts / "heads" / "tags")
    tasks = [
        {"token-classification": {"head": head, "pieces": "mean"}},
        {"token-classification": {"head": head, "pieces": "max", "aggregate": "entity"}},
    ]
    texts = {row["id"]: row["text"] for row in rows}
    whole = run_rows(rows, tasks)
    cut = run_rows(rows, tasks, tokenizer__max_length=14, tokenizer__on_overflow="window", tokenizer__overlap_tokens=5)
    entities = 0
    for row_id, row in cut.items():
        places = [(word["start"], word["end"]) for word in row["words"]]
        assert places == [(word["start"], word["end"]) for word in whole[row_id]["words"]]
        last = 0
        for span in (*row["words"], *row["entities"]):
            assert texts[row_id][span["start"] : span["end"]] == span["text"]
        for entity in row["entities"]:
            entities += 1
            assert entity["start"] >= last
            last = entity["end"]
            assert {entity["start"]} <= {start for start, _ in places}
            assert {entity["end"]} <= {end for _, end in places}
    assert entities > 50


def test_given_words_get_one_label_each(run_rows, rows, parts):
    """Words may hold punctuation, spaces and nothing at all; each has its entry, in its place."""
    words = [[*row["text"].split(), "", "two words"] for row in rows]
    given = [row | {"text": parted} for row, parted in zip(rows, words, strict=True)]
    task = {"token-classification": {"head": str(parts / "heads" / "tags")}}
    found = run_rows(given, [task])
    plain = run_rows(given, [task], tokenizer__bypass_tokenizer=True)
    for row in given:
        for out in (found[row["id"]]["words"], plain[row["id"]]["words"]):
            assert [word["text"] for word in out] == row["text"]
            joined = " ".join(row["text"])
            assert all(joined[word["start"] : word["end"]] == word["text"] for word in out)
            assert [word["label"] is None for word in out] == [not word for word in row["text"]]


@pytest.fixture(scope="session")
def questions(rows) -> list[Row]:
    contexts = [" ".join(row["text"] for row in rows if row["lang"] == lang) for lang in {row["lang"] for row in rows}]
    by_lang = zip({row["lang"] for row in rows}, contexts, strict=True)
    return [{"id": f"q-{lang}", "lang": lang, "question": text[:20], "context": text * 2} for lang, text in by_lang]


@torch.inference_mode()
@pytest.mark.parametrize("window", [False, True])
def test_answers_are_the_best_spans_of_the_context(run_rows, questions, parts, tokenizer, window):
    """Compared with all spans of every window, weighed one by one."""
    folder = parts / "heads"
    tasks = [
        {"question-answering": {"head": str(folder / "spans"), "top_k": 3, "max_answer_tokens": 6}},
        {"question-answering": {"head": str(folder / "beams"), "top_k": 2, "max_answer_tokens": 6, "name": "beam"}},
    ]
    settings = {"tokenizer__max_length": 40, "tokenizer__overlap_tokens": 10} if window else {}
    found = run_rows(
        questions,
        tasks,
        text=["question", "context"],
        tokenizer__on_overflow="window" if window else "truncate",
        **settings,
    )
    assert found.keys() == {row["id"] for row in questions}
    trunk = XLMModel.from_pretrained(parts / "lm")
    simple = QuestionAnsweringSimpleHead.from_pretrained(folder / "spans")
    beam = QuestionAnsweringHead.from_pretrained(folder / "beams")
    several = 0
    for row in questions:
        lang, context = row["lang"], row["context"]
        limits = {"max_length": 40, "overlap": 10} if window else {"max_length": 128}
        encoding = tokenizer.encode_batch([row["question"]], [lang], [context], **limits)
        spans: dict[tuple[int, int], float] = {}
        no_answer = 1.0
        for i in range(len(encoding)):
            part = slice(encoding.cu_seqlens[i], encoding.cu_seqlens[i + 1])
            ids, offsets, words = encoding.input_ids[part], encoding.offsets[part], encoding.word_ids[part]
            second = np.flatnonzero(words < 0)[1] + 1
            allowed = list(range(second, len(ids) - 1))
            batch = PackedBatch.from_ragged(ids, np.array([0, len(ids)]), [tokenizer.lang2id[lang]])
            start, end = simple.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens).double().unbind(1)
            assert ids[second - 1] == tokenizer.cls_token_id  # of the family's training: `</s>` after the question
            start, end = (x[[second - 1, *allowed]].softmax(0).tolist() for x in (start, end))
            no_answer = min(no_answer, start[0] * end[0])
            for a in range(len(allowed)):
                for b in range(a, min(a + 6, len(allowed))):
                    first, last = offsets[allowed[a]][0], offsets[allowed[b]][1]
                    if first < last:
                        score = start[a + 1] * end[b + 1]
                        spans[first, last] = max(spans.get((first, last), 0), score)
        best = sorted(spans.values(), reverse=True)[:3]
        out = found[row["id"]]
        assert np.allclose([answer["score"] for answer in out["answers"]], best, atol=1e-5)
        assert abs(out["no_answer_score"] - no_answer) < 1e-5
        several += len(encoding) > 1
        for answer in (*out["answers"], *out["beam_answers"]):
            assert context[answer["start"] : answer["end"]] == answer["text"] != ""
        for answer in out["answers"]:
            assert abs(spans[answer["start"], answer["end"]] - answer["score"]) < 1e-5
        assert out["beam_answers"]
        assert 0 <= out["beam_no_answer_score"] <= 1
    assert (several > 5) == window
    assert beam.config.start_n_top == 3


@torch.inference_mode()
def test_choices_of_any_number(run_rows, rows, parts, tokenizer):
    folder = parts / "heads" / "choice"
    texts = [row["text"] for row in rows]
    many = [
        row | {"premise": row["text"], "choices": [texts[(i + j) % len(texts)] for j in range(1 + i % 4)]}
        for i, row in enumerate(rows)
    ]
    columns = [
        {k: row[k] for k in ("id", "lang", "premise")}
        | {f"c{j}": c for j, c in enumerate([*row["choices"], *[None] * 4][:4])}
        for row in many
    ]
    task = [{"multiple-choice": {"head": str(folder)}}]
    found = run_rows(many, task, text=["premise", "choices"])
    assert run_rows(columns, task, text=["premise", "c0", "c1", "c2", "c3"]) == found
    trunk, head = XLMModel.from_pretrained(parts / "lm"), MultipleChoiceHead.from_pretrained(folder)
    for row in many:
        logits = []
        for choice in row["choices"]:
            batch = alone(tokenizer, row, row["premise"], choice, max_length=128)
            logits.append(float(head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens)))
        scores = torch.tensor(logits).softmax(0).tolist()
        assert np.allclose(found[row["id"]]["scores"], scores, atol=1e-4)
        assert found[row["id"]]["choice"] == int(np.argmax(scores))
    assert run_rows([many[0] | {"choices": []}, many[1]], task, text=["premise", "choices"]).keys() == {many[1]["id"]}
    assert [row["reason"] for row in read_rejected(run_rows.path)] == ["no_choices"]


@torch.inference_mode()
def test_masks_are_filled(run_rows, rows, parts, tokenizer):
    marked = [row | {"text": f"[MASK] {row['text']} [MASK]." if i % 2 else row["text"]} for i, row in enumerate(rows)]
    found = run_rows(marked, [{"fill-mask": {"top_k": 3, "mask": "[MASK]"}}])
    model = XLMWithLMHeadModel.from_pretrained(parts / "lm")
    for i, row in enumerate(marked):
        batch = alone(tokenizer, row, row["text"], mask_marker="[MASK]", max_length=128)
        places = torch.nonzero(batch.input_ids == tokenizer.mask_token_id).flatten()
        probs = model.forward_packed(batch)[places].softmax(-1)
        expected = probs.topk(3)
        fills = found[row["id"]]["fills"]
        assert len(fills) == (2 if i % 2 else 0)
        for fill, scores, ids in zip(fills, expected.values, expected.indices, strict=True):
            assert np.allclose([pair["score"] for pair in fill], scores, atol=1e-4)
            assert [pair["token"] for pair in fill] == [
                token.removesuffix("</w>") for token in tokenizer.convert_ids_to_tokens(ids.tolist())
            ]


@torch.inference_mode()
@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_texts_are_scored(run_rows, rows, parts, tokenizer, objective):
    found = run_rows(rows, ["lm-scoring"], model={"objective": objective}, batch__max_tokens=300)
    model = XLMWithLMHeadModel.from_pretrained(parts / "lm", causal=objective == "causal")
    for row in rows[:12]:
        batch = alone(tokenizer, row, row["text"], max_length=128)
        ids = batch.input_ids.long()
        own = range(1, len(ids) - 1)
        if objective == "causal":
            log_probs = model.forward_packed(batch).log_softmax(-1)
            total = sum(float(log_probs[place - 1, ids[place]]) for place in own)
        else:
            total = 0.0
            for place in own:
                masked = ids.clone()
                masked[place] = tokenizer.mask_token_id
                changed = PackedBatch(masked, batch.positions, batch.cu_seqlens, batch.langs)
                total += float(model.forward_packed(changed).log_softmax(-1)[place, ids[place]])
        out = found[row["id"]]
        assert out["num_tokens"] == len(own)
        assert abs(out["log_likelihood"] - total) < 1e-4 * len(own)
        assert math.isclose(out["perplexity"], math.exp(-out["log_likelihood"] / len(own)))


@torch.inference_mode()
def test_texts_go_on(run_rows, rows, parts, tokenizer):
    """Greedy text is the model's own on each row; drawn text is the row's own, whatever stands beside it."""
    model = {"objective": "causal"}
    with pytest.raises(Exception, match=r"exceed the 128 positions of .* set tokenizer.max_length to at most 121"):
        run_rows(rows, [{"text-generation": {"max_new_tokens": 8}}], model=model)
    short = {"model": model, "tokenizer__max_length": 121}
    found = run_rows(rows, [{"text-generation": {"max_new_tokens": 8}}], **short)
    causal = XLMWithLMHeadModel.from_pretrained(parts / "lm", causal=True)
    for row in rows[:10]:
        batch = alone(tokenizer, row, row["text"], max_length=121)
        prompt = batch.input_ids.long()[None, :-1]
        lang = int(batch.langs[0])
        ids = causal.generate(prompt, max_new_tokens=8, langs=lang, eos_token_id=tokenizer.sep_token_id)
        assert found[row["id"]]["generated"] == tokenizer.decode(
            ids[0, prompt.shape[1] :].tolist(), skip_special_tokens=True
        )
    draw = [{"text-generation": {"max_new_tokens": 8, "sample": True, "temperature": 0.9, "top_p": 0.9, "seed": 7}}]
    drawn = run_rows(rows, draw, **short)
    assert run_rows(rows[::-1], draw, **short, batch__max_tokens=50, output__rows_per_shard=7) == drawn
    assert drawn != found


def test_a_masked_checkpoint_cannot_generate(run_rows, rows):
    with pytest.raises(
        Exception, match=r"text-generation: the checkpoint's config.json says causal: false; .* set model.objective"
    ):
        run_rows(rows, ["text-generation"])


def test_counts_of_tokens_and_what_the_report_sums_up(run_rows, rows, tokenizer):
    odd = [*rows, {"id": "odd", "lang": "en", "text": "\U0001f9ff \U0001f9ff strange"}]
    found = run_rows(odd, ["feature-extraction"], output__token_counts=True, tokenizer__max_length=12)
    for row in odd:
        size = len(tokenizer.encode_batch([row["text"]], [row["lang"]]).input_ids)
        out = found[row["id"]]
        assert (out["num_tokens"], out["num_truncated"]) == (size, max(size - 12, 0))
    assert found["odd"]["num_unknown"] == 2
    langs = [lang for record in run_rows.records for lang in record.langs]
    assert sum(lang["truncated"] for lang in langs) == sum(row["num_truncated"] for row in found.values())
    assert sum(lang["unknown"] for lang in langs) == sum(row["num_unknown"] for row in found.values())


def test_rows_alike_are_computed_once(run_rows, rows, monkeypatch):
    """And what repeats gets what the first of its kind got, to the bit."""
    run = XLMModel.forward_packed
    sizes: list[int] = []

    def counted(self: XLMModel, batch: PackedBatch, **options: Any) -> Any:
        sizes.append(len(batch.lengths))
        return run(self, batch, **options)

    monkeypatch.setattr(XLMModel, "forward_packed", counted)
    many = [row | {"id": f"{row['id']}-{i}"} for i in range(5) for row in rows[:8]]
    found = run_rows(many, ["feature-extraction"])
    assert sum(sizes) == 8
    assert all(
        found[f"{row['id']}-{i}"]["embedding"] == found[f"{row['id']}-0"]["embedding"]
        for row in rows[:8]
        for i in range(5)
    )
    assert len({tuple(row["embedding"]) for row in found.values()}) == 8


def test_checkpoint_and_heads_from_a_store(run_rows, rows, parts, tmp_path, monkeypatch):
    """A job takes them from any URL, and gives what it gives from a directory."""
    monkeypatch.setenv("XLM_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    for folder in ("lm", "heads/topic"):
        store.put(str(parts / folder), f"/checkpoints/{folder}", recursive=True)
    url = "memory://checkpoints"
    there = run_rows(
        rows, [{"text-classification": {"head": f"{url}/heads/topic"}}, "lm-scoring"], model={"checkpoint": f"{url}/lm"}
    )
    here = run_rows(rows, [{"text-classification": {"head": str(parts / "heads" / "topic")}}, "lm-scoring"])
    assert there == here


def test_numbers_that_are_not_finite_are_no_result(make_job, demo, tmp_path):
    """A damaged checkpoint, or half precision that overflows, fails the shard rather than filling it with NaN."""
    folder = tmp_path / "broken"
    shutil.copytree(demo / "checkpoint", folder)
    model = XLMModel.from_pretrained(folder)
    with torch.no_grad():
        model.layer_norm_emb.weight[3] = math.inf
    model.save_pretrained(folder)
    results = run_stages(make_job(model={"checkpoint": str(folder)}, tasks=["feature-extraction"]))
    for result in results:
        assert result.failure is not None
        assert "not finite in torch.float32; set model.precision" in result.failure.message


def test_int8_wants_a_sample_that_was_made_alike(run_rows, rows):
    """Windows each are calibrated by windows each; whatever was made in another way is refused."""
    windows = {"tokenizer__max_length": 16, "tokenizer__on_overflow": "window", "tokenizer__overlap_tokens": 4}
    floats = run_rows(rows, [{"feature-extraction": {"windows": "each"}}], **windows)
    each = {"windows": "each", "dtype": "int8", "calibration": run_rows.path}
    rounded = run_rows(rows, [{"feature-extraction": each}], **windows)
    steps = np.concatenate([row["embeddings"] for row in rounded.values()])
    assert (steps.min(0), steps.max(0)) == (pytest.approx(-128), pytest.approx(127))
    assert [len(row["embeddings"]) for row in rounded.values()] == [len(row["embeddings"]) for row in floats.values()]
    with pytest.raises(FatalError, match=r"calibration was run with pooling mean, not max; name the output of a run"):
        run_rows(rows, [{"feature-extraction": each | {"pooling": "max"}}], **windows)
    with pytest.raises(FatalError, match=r"nowhere: no such file or directory; correct calibration"):
        run_rows(rows, [{"feature-extraction": {"dtype": "int8", "calibration": "nowhere"}}])
    Path(each["calibration"], "part-cut.parquet").write_bytes(b"PAR1, and no more of it")
    with pytest.raises(FatalError, match=r"part-cut\.parquet: calibration cannot read this file .* name the output"):
        run_rows(rows, [{"feature-extraction": each}], **windows)


def test_jobs_that_would_mean_nothing_are_refused(run_rows, rows, parts):
    choices = [row | {"choice": row["text"]} for row in rows]
    head = {"head": str(parts / "heads" / "choice")}
    with pytest.raises(FatalError, match=r"choice is (large_)?string, one choice a row; name a column of lists"):
        run_rows(choices, [{"multiple-choice": head}], text=["text", "choice"])
    with pytest.raises(FatalError, match=r"fill-mask: the model is causal, and sees nothing of what follows a mask"):
        run_rows(rows, ["fill-mask"], model={"objective": "causal"})
    with pytest.raises(FatalError, match=r"text-classification: head .*nowhere: no such"):
        run_rows(rows, [{"text-classification": {"head": str(parts / "nowhere")}}])


def test_a_pair_of_which_one_text_holds_no_token_is_rejected(run_rows, rows, parts):
    odd = [
        {"id": "a", "lang": "en", "q": "who?", "c": "\u0301 \u0301"},
        {"id": "b", "lang": "en", "q": "who?", "c": "she"},
    ]
    task = [{"question-answering": {"head": str(parts / "heads" / "beams")}}]
    assert run_rows(odd, task, text=["q", "c"]).keys() == {"b"}
    assert [row["reason"] for row in read_rejected(run_rows.path)] == ["empty_text"]
