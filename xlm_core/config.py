"""The configuration of an XLM checkpoint, read from and written to the field-standard `config.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, cast, get_args, get_origin, get_type_hints

from xlm_core.errors import CheckpointError, FatalError

CONFIG_FILE = "config.json"
MODEL_TYPE = "xlm"

SummaryType = Literal["first", "last", "mean", "cls_index"]
SummaryActivation = Literal["tanh", "relu", "gelu", "sigmoid", "silu", "swish", "linear", ""]
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
_INT_KEYED = ("id2label", "id2lang")  # JSON has string keys only
_POSITIVE = (
    "vocab_size",
    "emb_dim",
    "n_layers",
    "n_heads",
    "n_langs",
    "max_position_embeddings",
    "start_n_top",
    "end_n_top",
)
_SHARES = ("dropout", "attention_dropout", "summary_first_dropout", "summary_last_dropout")
_NULL_MEANS_ABSENT = ("id2label", "label2id", "num_labels")


def _default_labels(num_labels: int) -> dict[int, str]:
    return {i: f"LABEL_{i}" for i in range(num_labels)}


@dataclass(frozen=True, kw_only=True)
class XLMConfig:
    """Every setting of an XLM checkpoint that has an effect; defaults are the reference's.

    Keys of a file that have none are kept in `extra` and written back. Construction checks types and
    values and raises `FatalError` with the field, what it got and what it expected.
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
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(XLMConfig).items():
            value = getattr(self, name)
            if name == "summary_type" and value == "attn":
                raise _mismatch(name, value, "first, last, mean or cls_index (attn was never implemented)")
            if not _accepts(value, hint):
                raise _mismatch(name, value, _spell(hint))
        for name, bounds, holds in self._rules():
            if not holds:
                raise _mismatch(name, getattr(self, name), bounds)
        if not self.label2id:
            object.__setattr__(self, "label2id", {label: i for i, label in self.id2label.items()})

    def _rules(self) -> list[tuple[str, str, bool]]:
        """List (field, what is expected of it, whether it holds)."""
        langs = (self.lang2id or {}).values()
        fed_langs = self.n_langs > 1 and self.use_lang_emb
        return [
            *((name, "at least 1", getattr(self, name) >= 1) for name in _POSITIVE),
            *((name, "at least 0 and below 1", 0 <= getattr(self, name) < 1) for name in _SHARES),
            ("n_heads", f"a divisor of emb_dim {self.emb_dim}", self.emb_dim % max(self.n_heads, 1) == 0),
            ("layer_norm_eps", "above 0", self.layer_norm_eps > 0),
            ("is_encoder", "true (no checkpoint of a decoder exists)", self.is_encoder),
            ("pad_token_id", f"below vocab_size {self.vocab_size}", self._is_token(self.pad_token_id)),
            ("id2label", "keys 0, 1, 2 … without a gap", set(self.id2label) == set(range(self.num_labels))),
            (
                "lang2id",
                f"ids from 0 to {self.n_langs - 1} (n_langs is {self.n_langs})",
                not fed_langs or all(0 <= lang < self.n_langs for lang in langs),
            ),
            (
                "problem_type",
                "regression, or two labels and more",
                not (self.problem_type == "single_label_classification" and self.num_labels == 1),
            ),
        ]

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
                raise _mismatch(alias, values[alias], f"{given[name]!r}, the value of {name}")
        for name in _INT_KEYED:
            given |= {name: _int_keys(name, given[name])} if given.get(name) is not None else {}
        if (num_labels := values.get("num_labels")) is not None:
            if not _accepts(num_labels, int) or num_labels < 0:
                raise _mismatch("num_labels", num_labels, "int, at least 0")
            labels = given.setdefault("id2label", _default_labels(num_labels))
            if len(labels) != num_labels:
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
        """Read `config.json` of a checkpoint directory.

        Raises:
            CheckpointError: the directory or the file is missing or unreadable, or `from_dict` refuses it.
        """
        directory = Path(path)
        if not directory.is_dir():
            raise CheckpointError(f"{directory}: no such checkpoint directory; a local directory is expected")
        file = directory / CONFIG_FILE
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"{directory}: has no {CONFIG_FILE}; is this a checkpoint?") from None
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from error
        except ValueError as error:  # bad JSON, and bytes that are not UTF-8
            raise CheckpointError(f"{file}: not valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise CheckpointError(f"{file}: expected a JSON object, got {type(values).__name__}")
        try:
            return cls.from_dict(cast("dict[str, Any]", values))
        except FatalError as error:
            raise CheckpointError(f"{file}: {error}") from None


def _mismatch(name: str, got: object, expected: str) -> FatalError:
    return FatalError(f"configuration field {name}: got {got!r}, expected {expected}")


def _int_keys(name: str, mapping: object) -> object:
    """Turn JSON's string keys into integers; leave what is no mapping to the type check."""
    if not isinstance(mapping, Mapping):
        return mapping
    try:
        return {int(key): value for key, value in cast("Mapping[Any, Any]", mapping).items()}
    except (TypeError, ValueError):
        raise _mismatch(name, mapping, "integer keys") from None


def _accepts(value: object, hint: Any) -> bool:
    """Tell whether a value fits a field's annotation; true and false are no numbers, an int is a float."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_accepts(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_accepts(v, arguments[0]) for v in cast("list[object]", value))
    if origin is dict:
        return isinstance(value, dict) and all(
            _accepts(k, arguments[0]) and _accepts(v, arguments[1])
            for k, v in cast("dict[object, object]", value).items()
        )
    if hint is Any:
        return True
    if hint in (int, float):
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint)


def _spell(hint: Any) -> str:
    """Write an annotation as a person would: `int or null`."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_spell(argument) for argument in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(argument or '""' for argument in get_args(hint))
    if hint is NoneType:
        return "null"
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
