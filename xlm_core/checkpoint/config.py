"""The configuration of an XLM checkpoint, which is stored in its `config.json`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from math import inf
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Self, get_args

from pydantic import ConfigDict, ValidationError, ValidationInfo, ValidatorFunctionWrapHandler, field_validator
from pydantic.dataclasses import dataclass

from xlm_core.checkpoint.config_json import (
    INT_KEYED_FIELDS,
    MODEL_TYPE,
    default_labels,
    field_error,
    fields_from_json,
)
from xlm_core.checkpoint.files import CONFIG_FILE, find_original
from xlm_core.errors import CheckpointError, FatalError, check_choice, format_list, format_value
from xlm_core.files import read_json_object

SummaryType = Literal["first", "last", "mean", "cls_index"]
SummaryActivation = Literal["tanh", "relu", "gelu", "sigmoid", "silu", "swish", "linear", ""]
Objective = Literal["causal", "masked"]
ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]

_POSITIVE = (
    "vocab_size",
    "emb_dim",
    "n_layers",
    "n_heads",
    "n_langs",
    "max_position_embeddings",
)
# Settings of other architectures and of compressed files. The reference's XLM ignores some of them. Here a checkpoint
# that turns one on is refused, because the model that would run is not the one that the file describes.
_MUST_BE_OFF = {
    "is_decoder": "false (XLM has no decoder; a left-to-right model sets causal: true)",
    "is_encoder_decoder": "false (XLM is a single encoder)",
    "add_cross_attention": "false (XLM has no cross-attention)",
    "pruned_heads": "none (undo the pruning, or set the weights of these heads to zero)",
    "per_layer_config": "none (all layers have the same settings)",
    "quantization_config": "none (save the weights in floating point)",
}
_PROBABILITIES = ("dropout", "attention_dropout", "summary_first_dropout", "summary_last_dropout")
_DEVIATIONS = ("init_std", "embed_init_std")
_BEAM_SIZES = ("start_n_top", "end_n_top")
# Limits far above any real use: memory grows with these numbers, and a damaged file may hold any.
_MAX_BEAM_SIZE = 1_000
_MAX_SINUSOIDAL_POSITIONS = 1 << 20
_MAX_LISTED = 3


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
class XLMConfig:
    """Every setting of an XLM checkpoint that has an effect; the defaults are the reference's.

    Other keys of a `config.json` are kept in `extra` and written back, except keys that ask for another architecture:
    those are refused. The keys of `id2label` and `id2lang` are integers; in the reference, those of `id2lang` remain
    strings.

    Raises:
        FatalError: a field of the wrong type or value; the message has the field, the value and what is expected.
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
    summary_layer: int = -1  # whose output a sequence classification head pools; the reference always pools the last
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
    id2label: dict[int, str] = field(default_factory=lambda: default_labels(2))
    label2id: dict[str, int] = field(default_factory=dict[str, int])  # empty: the inverse of id2label
    problem_type: ProblemType | None = None
    score_temperature: float = 1.0  # divides the logits of a head before the softmax; the reference ignores it
    trained_langs: list[str] | None = None  # of the texts that a head was trained on; the reference ignores it
    output_hidden_states: bool | None = False
    output_attentions: bool | None = False
    return_dict: bool | None = True
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    @field_validator("*", mode="wrap")
    @classmethod
    def _check_type(cls, value: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        name = info.field_name or ""
        if name == "summary_type" and value == "attn":
            raise field_error(name, value, "first, last, mean or cls_index (attn was never implemented)")
        try:
            check(value)
        except ValidationError as error:
            raise field_error(name, value, _format_expected(value, error, cls.__annotations__[name])) from None
        return value  # unconverted: an integer such as `dropout: 0` is written back as an integer

    def __post_init__(self) -> None:
        for name, bounds, holds in self._rules():
            if not holds:
                raise field_error(name, getattr(self, name), bounds)
        for name, expected in _MUST_BE_OFF.items():
            if self.extra.get(name):
                raise field_error(name, self.extra[name], expected)
        if not self.label2id:
            object.__setattr__(self, "label2id", {label: i for i, label in self.id2label.items()})

    def _rules(self) -> list[tuple[str, str, bool]]:
        """List (field, the range of its values, whether the value is in it)."""
        langs = (self.lang2id or {}).values()
        return [
            *((name, "at least 1", getattr(self, name) >= 1) for name in _POSITIVE),
            *((name, "at least 0 and below 1", 0 <= getattr(self, name) < 1) for name in _PROBABILITIES),
            *((name, "from 0 to 1e6", 0 <= getattr(self, name) <= 1e6) for name in _DEVIATIONS),
            *(
                (name, f"from 1 to {_MAX_BEAM_SIZE}", 1 <= getattr(self, name) <= _MAX_BEAM_SIZE)
                for name in _BEAM_SIZES
            ),
            (
                "max_position_embeddings",
                f"at most {_MAX_SINUSOIDAL_POSITIONS}, if sinusoidal_embeddings is true",
                not self.sinusoidal_embeddings or self.max_position_embeddings <= _MAX_SINUSOIDAL_POSITIONS,
            ),
            ("n_heads", f"a divisor of emb_dim {self.emb_dim}", self.emb_dim % max(self.n_heads, 1) == 0),
            ("layer_norm_eps", "above 0 and below 1", 0 < self.layer_norm_eps < 1),
            ("score_temperature", "above 0", 0 < self.score_temperature < inf),
            (
                "summary_layer",
                f"from 0 (embeddings) to {self.n_layers}, or -1 (last layer) to {-self.n_layers - 1}",
                -self.n_layers - 1 <= self.summary_layer <= self.n_layers,
            ),
            ("is_encoder", "true (XLM has no decoder)", self.is_encoder),
            (
                "pad_token_id",
                f"0 to {self.vocab_size - 1} (vocab_size is {self.vocab_size})",
                self._is_token(self.pad_token_id),
            ),
            ("id2label", "keys 0, 1, 2 … without a gap", set(self.id2label) == set(range(self.num_labels))),
            (
                "lang2id",
                f"ids from 0 to {self.n_langs - 1} (n_langs is {self.n_langs})",
                not self.has_lang_embeddings or all(0 <= lang < self.n_langs for lang in langs),
            ),
            ("asm_cutoffs", f"increasing, from 1 to {self.vocab_size - 1}, if asm is true", self._has_clusters()),
            (
                "asm_div_value",
                f"a number from 1 to emb_dim {self.emb_dim}, if asm is true",
                not self.asm or 1 <= (self.asm_div_value or 0) <= self.emb_dim,
            ),
            (
                "problem_type",
                "regression, or at least two labels",
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
        """Whether the trunk adds a language embedding to each token."""
        return self.n_langs > 1 and self.use_lang_emb

    @property
    def num_labels(self) -> int:
        """Number of labels of a classification head."""
        return len(self.id2label)

    @property
    def hidden_size(self) -> int:
        """Width of the model; the common name of `emb_dim`."""
        return self.emb_dim

    @property
    def max_length(self) -> int:
        """Maximum number of tokens in a sequence, special tokens included."""
        return self.max_position_embeddings

    def with_objective(self, objective: Objective) -> Self:
        """Return a copy with another training objective, which determines what a token attends to.

        The configurations of the released causal checkpoints have `"causal": false`: users choose the objective.
        """
        check_choice("objective", objective, Objective)
        return dataclasses.replace(self, causal=objective == "causal")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from the content of a `config.json`.

        Aliases (`n_words`, `hidden_size`, `pad_index` …) are resolved. `num_labels` without `id2label` gives the labels
        LABEL_0, LABEL_1 … String keys of `id2label` and `id2lang` are converted to integers.

        Raises:
            FatalError: a field of the wrong type or value, two names of one field with different values, or another
                `model_type`.
        """
        return cls(**fields_from_json(values, [f.name for f in dataclasses.fields(cls) if f.name != "extra"]))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a `config.json`, which the reference can read too.

        Aliases are not written. `from_dict(to_dict())` equals this configuration.
        """
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "extra"}
        for name in ("lang2id", "id2lang", "asm_cutoffs", "asm_div_value", "trained_langs"):
            if values[name] is None:
                del values[name]
        for name, default in (("score_temperature", 1), ("summary_layer", -1)):
            if values[name] == default:
                del values[name]
        for name in INT_KEYED_FIELDS:
            if name in values:
                values[name] = {str(key): value for key, value in values[name].items()}
        return {"model_type": MODEL_TYPE, **self.extra, **values}

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Read the `config.json` of a checkpoint directory, or the settings in the `.pth` of the original release.

        Raises:
            CheckpointError: the directory or the file is missing or unreadable, or `from_dict` raises an error.
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


def _format_expected(value: object, error: ValidationError, annotation: Any) -> str:
    """Format pydantic's errors, such as `a valid boolean or null` or, within a mapping, `a valid integer at 'en'`."""
    expected: list[str] = []
    for detail in error.errors(include_url=False):
        message = detail["msg"].removeprefix("Input should be ")
        if detail["input"] is not value:
            message += f" at {format_value([key for key in detail['loc'] if key != '[key]'][-1])}"
        expected.append(message)
    if NoneType in get_args(annotation):
        expected.append("null")
    return format_list(expected, _MAX_LISTED, " or ")
