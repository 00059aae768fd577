"""Translations are found by the cosine of their vectors."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import FatalError
from pipelines.evaluation.measures import retrieval
from pipelines.evaluation.measures.retrieval import found_shares
from tests.pipelines.evaluation.outputs import evaluate_files, metrics, random_ids, write_gold, write_output


@pytest.fixture(scope="module")
def pairs():
    """Return vectors of 200 pairs in two languages, which are similar enough that most translations are found."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 16))
    b = a + rng.normal(size=(200, 16))
    return random_ids(rng, 200), a.astype(np.float32), b.astype(np.float32), rng.choice(["de", "fr"], 200)


def expected_shares(a, b):
    """Compute the share of found translations in both directions, one pair after another."""
    cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)[None]
    numbers = np.arange(len(a))
    return (cosine.argmax(1) == numbers).mean(), (cosine.argmax(0) == numbers).mean()


def vector_field(dim=16):
    return pa.field("embedding", pa.list_(pa.float32(), dim))


def write_vectors(folder, ids, langs, vectors):
    rows = [
        {"id": i, "lang": str(lang), "embedding": v.tolist()} for i, lang, v in zip(ids, langs, vectors, strict=True)
    ]
    return write_output(folder, "feature-extraction", rows, [vector_field()], rows_per_part=60)


def test_two_outputs(pairs, tmp_path):
    ids, a, b, langs = pairs
    out = write_vectors(tmp_path, ids, langs, a)
    other = write_vectors(tmp_path, ids[::-1], ["en"] * 200, b[::-1])
    found = evaluate_files(out, other)
    for lang in ("de", "fr"):
        there, back = expected_shares(a[langs == lang], b[langs == lang])
        assert metrics(found, lang) == pytest.approx(
            {
                "accuracy at 1, mean": (there + back) / 2,
                "to the translation": there,
                "from the translation": back,
            }
        )


def test_pairs_within_one_output(pairs, tmp_path):
    ids, a, b, langs = pairs
    sides = [f"{i}-x" for i in ids], [f"{i}-y" for i in ids]
    out = write_vectors(tmp_path, sides[0] + sides[1], [*langs, *["it"] * 200], np.concatenate([a, b]))
    gold = write_gold(tmp_path, [{"id": name, "pair": name[:-2]} for side in sides for name in side])
    found = evaluate_files(out, gold)
    assert set(found.langs) == {"de–it", "fr–it"}
    there, _ = expected_shares(a[langs == "de"], b[langs == "de"])
    assert metrics(found, "de–it")["to the translation"] == pytest.approx(there)


def test_a_key_of_three_rows_is_refused(pairs, tmp_path):
    ids, a, _, langs = pairs
    out = write_vectors(tmp_path, ids[:3], langs[:3], a[:3])
    gold = write_gold(tmp_path, [{"id": i, "pair": 7} for i in ids[:3]])
    with pytest.raises(FatalError, match="another number of rows than 2, such as 7, which has 3"):
        evaluate_files(out, gold)


def test_equally_near_vectors_share_a_hit():
    same = np.ones((4, 8), np.float32) / np.sqrt(8, dtype=np.float32)
    assert found_shares(same, same).tolist() == [[0.25, 0.25]] * 4


def test_shares_do_not_depend_on_the_size_of_blocks(pairs, monkeypatch):
    _, a, b, _ = pairs
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    expected = found_shares(a, b)
    monkeypatch.setattr(retrieval, "_CELLS_AT_ONCE", 700)
    assert (found_shares(a, b) == expected).all()
    assert expected.mean(0) == pytest.approx(expected_shares(a, b))


@pytest.mark.parametrize(("dtype", "kind"), [("float16", pa.float16()), ("binary", pa.uint8())])
def test_other_number_types(dtype, kind, pairs, tmp_path):
    ids, a, b, _ = pairs
    outs = []
    for vectors in (a, b):
        values = np.packbits(vectors > 0, axis=1) if dtype == "binary" else vectors.astype(np.float16)
        field = pa.field("embedding", pa.list_(kind, values.shape[1]))
        rows = [{"id": i, "lang": "de", "embedding": list(v)} for i, v in zip(ids, values, strict=True)]
        outs.append(write_output(tmp_path, {"feature-extraction": {"dtype": dtype}}, rows, [field]))
    found = metrics(evaluate_files(*outs))["to the translation"]
    x, y = (np.where(v > 0, 1.0, -1.0) for v in (a, b)) if dtype == "binary" else (a, b)
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    assert found == pytest.approx(found_shares(x, y)[:, 0].mean(), abs=1e-9 if dtype == "binary" else 0.01)
