"""The configuration of an XLM checkpoint, read from and written to the field-standard `config.json`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args, get_type_hints

from xlm_core.checkpoint.files import find_original
from xlm_core.errors import CheckpointError, FatalError, shown
from xlm_core.files.field_types import accepts, spell
from xlm_core.files.json_files import read_json_object

CONFIG_FILE = "config.json"
MODEL_TYPE = "xlm"

SummaryType = Literal["first", "last", "mean", "cls_index"]
SummaryActivation = Literal["tanh", "relu", "gelu", "sigmoid", "silu", "swish", "linear", ""]
Objective = Literal["causal", "masked"]
ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]

# Other names under which checkpoints store a field; the 2019 files know only the *_index ones and n_words.
ALIASES = {
    "hidden_size": "emb_dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "n_words": "vocab_size",
    "bos_index": "bos_token_id",
    "eos_index": "eos_token_id",
    "pad_index": "pad_token_id",
}
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # int() would also take " 1", "01" and "1_0"
_INT_KEYED = ("id2label", "id2lang")  # JSON has string keys only
_POSITIVE = (
    "vocab_size",
    "emb_dim",
    "n_layers",
    "n_heads",
    "n_langs",
    "max_position_embeddings",
)
# Settings of other architectures and of compressed files. The reference's XLM ignores some of them; here a checkpoint
# that turns one on is refused, since what it describes is not what would run.
_MUST_BE_OFF = {
    "is_decoder": "false (no checkpoint of a decoder exists; a left-to-right model says causal: true)",
    "is_encoder_decoder": "false (XLM is one encoder)",
    "add_cross_attention": "false (XLM has no cross-attention)",
    "pruned_heads": "none (undo the pruning, or mask by weights of zero)",
    "per_layer_config": "none (all layers are alike)",
    "quantization_config": "none (save the weights in floating point)",
}
_SHARES = ("dropout", "attention_dropout", "summary_first_dropout", "summary_last_dropout")
_DEVIATIONS = ("init_std", "embed_init_std")
_BEAMS = ("start_n_top", "end_n_top")
_NULL_MEANS_ABSENT = ("id2label", "label2id", "num_labels")
# Far above any use; each is one number in a file, by which memory grows.
_MAX_UNNAMED_LABELS = 100_000
_MAX_BEAMS = 1_000
_MAX_SINUSOIDAL_POSITIONS = 1 << 20


def _default_labels(num_labels: int) -> dict[int, str]:
    return {i: f"LABEL_{i}" for i in range(num_labels)}


@dataclass(frozen=True, kw_only=True)
class XLMConfig:
    """Every setting of an XLM checkpoint that has an effect; defaults are the reference's.

    Keys of a file that have none are kept in `extra` and written back; those that would ask for what XLM is not are
    refused. Construction checks types and values and raises `FatalError` with the field, what it got and what it
    expected. The keys of `id2label` and `id2lang` are integers; the reference leaves those of `id2lang` strings.
    """

    vocab_size: int = 30145
    emb_dim: int = 2048
    n_layers: int = 12
    n_heads: int = 16
    dropout: float = 0.1
    attention_dropout: float = 0.1
    gelu_activation: bool = True
    sinusoidal_embeddings: bool = False
    causal: bool = False
    asm: bool = False
    asm_cutoffs: list[int] | None = None
    asm_div_value: float | None = None
    n_langs: int = 1
    use_lang_emb: bool = True
    max_position_embeddings: int = 512
    embed_init_std: float = 2048**-0.5
    layer_norm_eps: float = 1e-12
    init_std: float = 0.02
    unk_index: int = 3
    mask_index: int = 5
    is_encoder: bool = True
    summary_type: SummaryType = "first"
    summary_use_proj: bool = True
    summary_activation: SummaryActivation | None = None
    summary_proj_to_labels: bool = True
    summary_first_dropout: float = 0.1
    summary_last_dropout: float = 0.0
    start_n_top: int = 5
    end_n_top: int = 5
    mask_token_id: int | None = 0
    lang_id: int | None = 0
    pad_token_id: int | None = 2
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    tie_word_embeddings: bool = True
    lang2id: dict[str, int] | None = None
    id2lang: dict[int, str] | None = None
    id2label: dict[int, str] = field(default_factory=lambda: _default_labels(2))
    label2id: dict[str, int] = field(default_factory=dict[str, int])  # empty: the inverse of id2label
    problem_type: ProblemType | None = None
    output_hidden_states: bool | None = False
    output_attentions: bool | None = False
    return_dict: bool | None = True
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(XLMConfig).items():
            value = getattr(self, name)
            if name == "summary_type" and value == "attn":
                raise _mismatch(name, value, "first, last, mean or cls_index (attn was never implemented)")
            if not accepts(value, hint):
                raise _mismatch(name, value, spell(hint))
        for name, bounds, holds in self._rules():
            if not holds:
                raise _mismatch(name, getattr(self, name), bounds)
        for name, expected in _MUST_BE_OFF.items():
            if self.extra.get(name):
                raise _mismatch(name, self.extra[name], expected)
        if not self.label2id:
            object.__setattr__(self, "label2id", {label: i for i, label in self.id2label.items()})

    def _rules(self) -> list[tuple[str, str, bool]]:
        """List (field, what is expected of it, whether it holds)."""
        langs = (self.lang2id or {}).values()
        fed_langs = self.n_langs > 1 and self.use_lang_emb
        return [
            *((name, "at least 1", getattr(self, name) >= 1) for name in _POSITIVE),
            *((name, "at least 0 and below 1", 0 <= getattr(self, name) < 1) for name in _SHARES),
            *((name, "from 0 to 1e6", 0 <= getattr(self, name) <= 1e6) for name in _DEVIATIONS),
            *((name, f"from 1 to {_MAX_BEAMS}", 1 <= getattr(self, name) <= _MAX_BEAMS) for name in _BEAMS),
            (
                "max_position_embeddings",
                f"at most {_MAX_SINUSOIDAL_POSITIONS}, where sinusoidal_embeddings is true",
                not self.sinusoidal_embeddings or self.max_position_embeddings <= _MAX_SINUSOIDAL_POSITIONS,
            ),
            ("n_heads", f"a divisor of emb_dim {self.emb_dim}", self.emb_dim % max(self.n_heads, 1) == 0),
            ("layer_norm_eps", "above 0 and below 1", 0 < self.layer_norm_eps < 1),
            ("is_encoder", "true (no checkpoint of a decoder exists)", self.is_encoder),
            ("pad_token_id", f"below vocab_size {self.vocab_size}", self._is_token(self.pad_token_id)),
            ("id2label", "keys 0, 1, 2 … without a gap", set(self.id2label) == set(range(self.num_labels))),
            (
                "lang2id",
                f"ids from 0 to {self.n_langs - 1} (n_langs is {self.n_langs})",
                not fed_langs or all(0 <= lang < self.n_langs for lang in langs),
            ),
            ("asm_cutoffs", f"increasing, from 1 to {self.vocab_size - 1}, where asm is true", self._has_clusters()),
            (
                "asm_div_value",
                f"a number from 1 to emb_dim {self.emb_dim}, where asm is true",
                not self.asm or 1 <= (self.asm_div_value or 0) <= self.emb_dim,
            ),
            (
                "problem_type",
                "regression, or two labels and more",
                not (self.problem_type == "single_label_classification" and self.num_labels == 1),
            ),
        ]

    def _has_clusters(self) -> bool:
        cutoffs = self.asm_cutoffs or []
        return not self.asm or (
            bool(cutoffs) and sorted({*cutoffs, 0, self.vocab_size}) == [0, *cutoffs, self.vocab_size]
        )

    def _is_token(self, token_id: int | None) -> bool:
        return token_id is None or 0 <= token_id < self.vocab_size

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.emb_dim // self.n_heads

    @property
    def has_lang_embeddings(self) -> bool:
        """Whether the trunk adds a language vector to each token."""
        return self.n_langs > 1 and self.use_lang_emb

    @property
    def num_labels(self) -> int:
        """Number of labels of a classification head."""
        return len(self.id2label)

    @property
    def hidden_size(self) -> int:
        """Width of the model; the field's usual name for `emb_dim`."""
        return self.emb_dim

    @property
    def max_length(self) -> int:
        """Most tokens a sequence may have, special tokens included."""
        return self.max_position_embeddings

    def with_objective(self, objective: Objective) -> Self:
        """Give this configuration with another objective: what a token may see.

        The released causal checkpoints say `"causal": false`, so it takes the user's word to run them as trained.
        """
        if objective not in get_args(Objective):
            raise ValueError(f"objective: got {objective!r}, expected causal or masked")
        return replace(self, causal=objective == "causal")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from the content of a `config.json`.

        Aliases (`n_words`, `hidden_size`, `pad_index` …) are resolved; `num_labels` alone names the labels
        LABEL_0, LABEL_1 …; string keys of id2label and id2lang become integers.

        Raises:
            FatalError: a field of the wrong type or value, two names of one field that disagree, or another
                `model_type`.
        """
        values = {k: v for k, v in values.items() if not (k in _NULL_MEANS_ABSENT and v is None)}
        model_type = values.pop("model_type", MODEL_TYPE)
        if model_type != MODEL_TYPE:
            raise _mismatch("model_type", model_type, f"{MODEL_TYPE!r}; this is a checkpoint of another family")
        known = {f.name for f in fields(cls)} - {"extra"}
        given: dict[str, Any] = {name: values[name] for name in values if name in known}
        for alias, name in ALIASES.items():
            if alias in values and given.setdefault(name, values[alias]) != values[alias]:
                raise _mismatch(alias, values[alias], f"{shown(given[name])}, the value of {name}")
        for name in _INT_KEYED:
            given |= {name: _int_keys(name, given[name])} if given.get(name) is not None else {}
        if (num_labels := values.get("num_labels")) is not None:
            if not accepts(num_labels, int) or num_labels < 0:
                raise _mismatch("num_labels", num_labels, "int, at least 0")
            if "id2label" not in given:
                if num_labels > _MAX_UNNAMED_LABELS:
                    raise _mismatch("num_labels", num_labels, f"at most {_MAX_UNNAMED_LABELS} without id2label")
                given["id2label"] = _default_labels(num_labels)
            if isinstance(labels := given["id2label"], dict) and len(cast("dict[Any, Any]", labels)) != num_labels:
                raise _mismatch("num_labels", num_labels, f"{len(labels)}, the number of labels in id2label")
        extra = {k: v for k, v in values.items() if k not in known | ALIASES.keys() | {"num_labels"}}
        return cls(**given, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """Give the content of a `config.json`, which the reference reads as well.

        The aliases are not written; `from_dict(to_dict())` equals this configuration.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        for name in ("lang2id", "id2lang", "asm_cutoffs", "asm_div_value"):
            if values[name] is None:
                del values[name]
        for name in _INT_KEYED:
            if name in values:
                values[name] = {str(key): value for key, value in values[name].items()}
        return {"model_type": MODEL_TYPE, **self.extra, **values}

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Read `config.json` of a checkpoint directory, or the settings in the `.pth` of the original release.

        Raises:
            CheckpointError: the directory or the file is missing or unreadable, or `from_dict` refuses it.
        """
        directory = Path(path)
        if not directory.is_dir():
            raise CheckpointError(f"{directory}: no such checkpoint directory; a local directory is expected")
        file = directory / CONFIG_FILE
        if not file.exists() and (original := find_original(directory)) is not None:
            from xlm_core.checkpoint.formats import read_original  # loads torch

            return cls._checked(original, read_original(original).settings)
        return cls._checked(file, read_json_object(file, CheckpointError))

    @classmethod
    def _checked(cls, file: Path, values: dict[str, Any]) -> Self:
        try:
            return cls.from_dict(values)
        except FatalError as error:
            raise CheckpointError(f"{file}: {error}") from None


def _mismatch(name: str, got: object, expected: str) -> FatalError:
    return FatalError(f"configuration field {name}: got {shown(got)}, expected {expected}")


def _int_keys(name: str, mapping: object) -> object:
    """Turn JSON's string keys into integers; leave what is no mapping to the type check."""
    if not isinstance(mapping, Mapping):
        return mapping
    given = cast("Mapping[Any, Any]", mapping)
    numbers = [int(key) for key in given if _INTEGER.fullmatch(str(key))]
    if len(set(numbers)) < len(given):
        raise _mismatch(name, mapping, "integer keys, each once")
    return dict(zip(numbers, given.values(), strict=True))
