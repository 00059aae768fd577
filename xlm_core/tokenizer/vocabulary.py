"""The vocabulary of a checkpoint: ids of tokens, roles of special tokens, and ids of languages."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from xlm_core.errors import TokenizerError, format_value
from xlm_core.languages import canonical_lang, resolve_lang
from xlm_core.tokenizer.bpe import END_OF_WORD
from xlm_core.tokenizer.files import ADDITIONAL_SPECIAL_TOKENS, ROLES, SPECIAL_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Replacements that restore English text from Moses tokens; the list is the reference's.
_CLEAN_UPS = [
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {ending}", ending) for ending in ("n't", "'m", "'s", "'ve", "'re")),
]

_MAX_CACHED_LANGS = 1_000


class _RoleToken:
    """The token in a role, such as `mask_token`. Assignment calls `set_special_tokens`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._role = name

    def __get__(self, vocabulary: Vocabulary, owner: type) -> str:
        return vocabulary.special_tokens[self._role]

    def __set__(self, vocabulary: Vocabulary, token: str) -> None:
        vocabulary.set_special_tokens(**{self._role: token})


class _RoleId:
    """The id of the token in a role, such as `mask_token_id`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._role = name.removesuffix("_id")

    def __get__(self, vocabulary: Vocabulary, owner: type) -> int:
        return vocabulary.vocab[vocabulary.special_tokens[self._role]]

    def __set__(self, vocabulary: Vocabulary, token_id: int) -> None:
        vocabulary.set_special_tokens(**{self._role: vocabulary.convert_ids_to_tokens(token_id)})


class Vocabulary:
    """Tokens, their ids and their roles. Names and results are those of the reference's tokenizer.

    Args:
        vocab: token to id.
        lang2id: the checkpoint's languages; None or empty for a checkpoint without language ids: it accepts any code
            of two or three letters, with any subtags.
        special_tokens: role to token, for roles that differ from `SPECIAL_TOKENS`.
        additional_special_tokens: further special tokens; those that are not in `vocab` are ignored.

    Raises:
        TokenizerError: a special token is not in the vocabulary.
    """

    clean_up_tokenization_spaces: bool = False  # the default of `decode`

    unk_token, bos_token, sep_token = _RoleToken(), _RoleToken(), _RoleToken()
    pad_token, cls_token, mask_token = _RoleToken(), _RoleToken(), _RoleToken()
    unk_token_id, bos_token_id, sep_token_id = _RoleId(), _RoleId(), _RoleId()
    pad_token_id, cls_token_id, mask_token_id = _RoleId(), _RoleId(), _RoleId()

    def __init__(
        self,
        vocab: Mapping[str, int],
        lang2id: Mapping[str, int] | None = None,
        special_tokens: Mapping[str, str] | None = None,
        additional_special_tokens: Sequence[str] = tuple(ADDITIONAL_SPECIAL_TOKENS),
    ):
        self.vocab = dict(vocab)
        self.lang2id = dict(lang2id or {})
        self.special_tokens = dict(SPECIAL_TOKENS)
        self.additional_special_tokens = list(additional_special_tokens)
        self.set_special_tokens(**(special_tokens or {}))
        self._langs: dict[str, str] = {}  # resolved codes: a lookup takes 10 µs

    def set_special_tokens(self, **tokens: str) -> None:
        """Assign roles to other tokens of the vocabulary, as in `set_special_tokens(mask_token="<special5>")`.

        Raises:
            TokenizerError: the token is not in the vocabulary. Tokens are never added to it.
            ValueError: there is no such role.
        """
        unknown = sorted(tokens.keys() - set(ROLES))
        if unknown:
            raise ValueError(f"no special token has the role {', '.join(unknown)}; roles are {', '.join(ROLES)}")
        changed = self.special_tokens | tokens
        missing = sorted(
            {f"{role} {format_value(token)}" for role, token in changed.items() if token not in self.vocab}
        )
        if missing:
            raise TokenizerError(
                f"vocab.json does not have {', '.join(missing)}; is it the vocabulary of an XLM checkpoint?"
            )
        self.special_tokens = changed

    @property
    def eos_token(self) -> str | None:
        """The end-of-sequence token. XLM's checkpoints have none: their texts end with `sep_token`."""
        return self.special_tokens.get("eos_token")

    @property
    def eos_token_id(self) -> int | None:
        """The id of `eos_token`, or None."""
        return None if self.eos_token is None else self.vocab[self.eos_token]

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Role to token."""
        return dict(self.special_tokens)

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, without duplicates; tokens with a role come first."""
        additional = [token for token in self.additional_special_tokens if token in self.vocab]
        return list(dict.fromkeys([*self.special_tokens.values(), *additional]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`, in the same order."""
        return [self.vocab[token] for token in self.all_special_tokens]

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.vocab)

    def __len__(self) -> int:
        return len(self.vocab)

    def get_vocab(self) -> dict[str, int]:
        """Return a copy of `vocab`, token to id."""
        return dict(self.vocab)

    @property
    def id2lang(self) -> dict[int, str]:
        """Language id to code. In the reference, ids that were read from JSON are strings."""
        return {i: lang for lang, i in self.lang2id.items()}

    def resolve_lang(self, lang: str) -> str | None:
        """Return the checkpoint's code for a language code, or None if the language is not in `lang2id`.

        The rules are those of `xlm_core.languages`. Without `lang2id` there is nothing to look up, but the code still
        selects the segmenter.
        """
        if lang not in self._langs:
            resolved = resolve_lang(lang, self.lang2id) if self.lang2id else canonical_lang(lang)
            if resolved is None:  # may be any text: not cached
                return None
            if len(self._langs) >= _MAX_CACHED_LANGS:
                self._langs.clear()
            self._langs[lang] = resolved
        return self._langs[lang]

    def require_lang(self, lang: str | None) -> str | None:
        """Resolve a language code, or pass through None, which means language-neutral rules.

        Raises:
            ValueError: the language is not in `lang2id`, or the value is not a language code.
        """
        resolved = None if lang is None else self.resolve_lang(lang)
        if lang is not None and resolved is None:
            problem = "is not in the checkpoint's lang2id" if self.lang2id else "is not a language code"
            raise ValueError(f"lang: {format_value(lang)} {problem}; pass None for language-neutral rules")
        return resolved

    @cached_property
    def _tokens_by_id(self) -> dict[int, str]:
        return {i: token for token, i in self.vocab.items()}

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """Look up the id of one or more tokens. Tokens that are not in the vocabulary get the id of `unk_token`."""
        unk_id = self.unk_token_id
        if isinstance(tokens, str):
            return self.vocab.get(tokens, unk_id)
        return [self.vocab.get(token, unk_id) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """Look up the token of one or more ids. Ids without a token give `unk_token`."""
        if isinstance(ids, int):
            return self._tokens_by_id.get(ids, self.unk_token)
        skipped = set(self.all_special_ids) if skip_special_tokens else set[int]()
        return [self._tokens_by_id.get(int(i), self.unk_token) for i in ids if int(i) not in skipped]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Join tokens into words, separated by spaces."""
        return "".join(tokens).replace(END_OF_WORD, " ").strip()

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> Any:
        """Convert ids to text.

        Args:
            token_ids: one id, or a list, array or tensor of ids. A batch of sequences gives a list of texts.
            skip_special_tokens: omit `all_special_tokens`, which include the unknown token. No effect on a single id.
            clean_up_tokenization_spaces: remove the spaces before English punctuation and contractions; None for the
                checkpoint's setting.
        """
        ids: Any = as_lists(token_ids)
        if isinstance(ids, int):
            tokens = [self.convert_ids_to_tokens(ids)]
        elif len(ids) and isinstance(ids[0], list):
            return [self.decode(one, skip_special_tokens, clean_up_tokenization_spaces) for one in ids]
        else:
            tokens = self.convert_ids_to_tokens(list(ids), skip_special_tokens)
        text = self.convert_tokens_to_string(tokens)
        if self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces:
            for spaced, clean in _CLEAN_UPS:
                text = text.replace(spaced, clean)
        return text

    def batch_decode(
        self,
        sequences: Iterable[Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Convert each sequence of ids to text. The ids of a single sequence give a list of one text."""
        ids = as_lists(list(sequences))
        found = self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) if len(ids) else []
        return [found] if isinstance(found, str) else found

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return the number of special tokens in the sequence of one text, or of a pair."""
        return 3 if pair else 2

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Build `<s> A </s>` or `<s> A </s> B </s>`."""
        first = [self.bos_token_id, *token_ids_0, self.sep_token_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Return 0 for the first text and its special tokens, 1 for the second text and its own."""
        first = [0] * (len(token_ids_0) + 2)
        return first if token_ids_1 is None else first + [1] * (len(token_ids_1) + 1)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for each special token and 0 for all others.

        Args:
            token_ids_0, token_ids_1: the arguments of `build_inputs_with_special_tokens`.
            already_has_special_tokens: `token_ids_0` is a complete sequence, in which each id is looked up.

        Raises:
            ValueError: `token_ids_1` in addition to a complete sequence.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise ValueError("already_has_special_tokens: pass one complete sequence, without token_ids_1")
            special = set(self.all_special_ids)
            return [int(int(i) in special) for i in token_ids_0]
        first = [1, *[0] * len(token_ids_0), 1]
        return first if token_ids_1 is None else [*first, *[0] * len(token_ids_1), 1]


def as_lists(values: Any) -> Any:
    """Convert tensors and arrays to lists, also inside lists and tuples; other values are returned unchanged."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return [as_lists(value) for value in values] if isinstance(values, list | tuple) else values
