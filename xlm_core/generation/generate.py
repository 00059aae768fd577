"""Text generation with a causal checkpoint, over packed prompts of any lengths, with a key/value cache.

As in the reference, the next token is predicted from the hidden state of a mask token appended to the text.
(In training, it is predicted from the last token of the text, as in `score_causal`.) The first pass therefore runs each
prompt followed by a mask token. Every later pass runs two tokens per sequence: the token just chosen, whose keys and
values stay in the cache, and a new mask token, whose keys and values the next pass overwrites. The result equals the
reference's `generate(..., use_cache=False)`; with its cache, the reference generates wrong tokens.

Letters: B sequences, T packed tokens, D model width, V size of the vocabulary, S new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from xlm_core.errors import FatalError
from xlm_core.generation.sampling import filter_scores, sample, text_draws
from xlm_core.model import KeyValueCache, PackedBatch
from xlm_core.ragged import IntArray, cumulative_lengths, take_ragged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from xlm_core.heads import LanguageModelHead
    from xlm_core.model import Trunk

_CHUNK_ROWS = 64  # rows of log-probabilities: 51 MB for 200,000 words, and sampling needs a few times as much


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Settings of text generation.

    Attributes:
        max_new_tokens: maximum number of new tokens per prompt; generation also stops at the model's last position.
        mask_token_id: the token whose hidden state predicts the next token; the configuration's `mask_token_id`.
        eos_token_ids: generation stops at the first of these tokens.
        keep_eos: whether the result includes that token.
        forbidden_ids: tokens that are never generated.
        do_sample: sample from the distribution; otherwise choose the most probable token.
        temperature, top_k, top_p: change the distribution before sampling; see `filter_scores`.
        seed: of the random draws. They also depend on the prompt and its language, so equal prompts get equal texts.
    """

    max_new_tokens: int
    mask_token_id: int
    eos_token_ids: tuple[int, ...] = ()
    keep_eos: bool = False
    forbidden_ids: tuple[int, ...] = ()
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, bounds, is_valid in (
            ("max_new_tokens", "at least 1", self.max_new_tokens >= 1),
            ("temperature", "above 0 (without do_sample the most probable token is chosen)", self.temperature > 0),
            ("top_k", "at least 0 (0 keeps all tokens)", self.top_k >= 0),
            ("top_p", "above 0 and at most 1 (1 keeps all tokens)", 0 < self.top_p <= 1),
        ):
            if not is_valid:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {bounds}")


@torch.inference_mode()
def generate(
    trunk: Trunk,
    head: LanguageModelHead,
    input_ids: IntArray,
    cu_seqlens: IntArray,
    langs: IntArray | None,
    settings: GenerationSettings,
    *,
    max_tokens: int | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Generate text after each prompt, up to an end token, `max_new_tokens` or the model's last position.

    The result of a prompt does not depend on the other prompts, except for the last bits of the log-probabilities. With
    `max_tokens=1` each prompt runs alone, and the result is bit-identical.

    Args:
        trunk: a causal trunk in evaluation mode.
        head: on the same device.
        input_ids: [T], concatenated prompts.
        cu_seqlens: [B + 1].
        langs: [B], the language of each prompt and its continuation; -1, or None for all, adds no language embedding.
        settings: see `GenerationSettings`.
        max_tokens: token budget of a batch, prompts and new tokens together; a prompt that needs more runs alone. All
            prompts run in one batch if not given.
        on_progress: receives the share of the prompts that are done, from 0 to 1, after each batch.

    Returns:
        The new tokens without the prompts: int32 [T'] and cu_seqlens, int32 [B + 1]. A prompt may get no tokens.

    Raises:
        FatalError: the trunk is not causal.
        ValueError: a prompt is longer than the model's positions, an id is not in the vocabulary, all ids are
            forbidden, or langs do not match the prompts.
    """
    config = trunk.config
    if not config.causal:
        raise FatalError(
            "text generation: the checkpoint's config.json has causal: false, expected a causal model; set the"
            " objective to causal if the model was trained to predict the next token"
        )
    forbidden = set(settings.forbidden_ids)
    if len(forbidden) >= config.vocab_size or not all(0 <= i < config.vocab_size for i in forbidden):
        raise ValueError(
            f"forbidden_ids: got {len(forbidden)} ids from {min(forbidden)} to {max(forbidden)}, expected ids from 0 to"
            f" {config.vocab_size - 1} (vocab_size is {config.vocab_size}), but not all of them"
        )
    lengths = np.diff(cu_seqlens).astype(np.int64)
    too_long = np.flatnonzero(lengths > config.max_position_embeddings)
    if len(too_long):
        raise ValueError(
            f"prompt {too_long[0]}: got {lengths[too_long[0]]} tokens, expected at most"
            f" {config.max_position_embeddings} (max_position_embeddings)"
        )
    langs = np.full(len(lengths), -1) if langs is None else np.asarray(langs)
    if len(langs) != len(lengths):
        raise ValueError(f"langs: got {len(langs)}, expected one per prompt ({len(lengths)})")
    # the pass that chooses token n of a text runs n tokens and the mask token, so a text can fill every position
    max_new = np.minimum(settings.max_new_tokens, config.max_position_embeddings - lengths)
    new_BS = np.zeros((len(lengths), max_new.max(initial=0)), np.int32)
    num_new = np.zeros(len(lengths), np.int64)
    num_done = 0
    for index in _batches(lengths, max_new, max_tokens):
        prompts = take_ragged(input_ids, cu_seqlens, index)
        batch_BS, num_new[index] = _generate_batch(trunk, head, *prompts, langs[index], max_new[index], settings)
        new_BS[index, : batch_BS.shape[1]] = batch_BS
        num_done += len(index)
        on_progress(num_done / len(lengths))
    return new_BS[np.arange(new_BS.shape[1]) < num_new[:, None]], cumulative_lengths(num_new)


def _batches(
    lengths: NDArray[np.int64], max_new: NDArray[np.int64], max_tokens: int | None
) -> Iterator[NDArray[np.int64]]:
    """Batch the prompts that can get tokens, longest first; the cache has as many slots for each as for the longest."""
    slots = lengths + max_new
    order = np.argsort(-slots, kind="stable")
    order = order[max_new[order] > 0]
    while len(order):
        size = len(order) if max_tokens is None else max(1, max_tokens // int(slots[order[0]]))
        yield order[:size]
        order = order[size:]


def _generate_batch(
    trunk: Trunk,
    head: LanguageModelHead,
    input_ids: IntArray,
    cu_seqlens: IntArray,
    langs: IntArray,
    max_new: NDArray[np.int64],
    settings: GenerationSettings,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Generate at most `max_new` tokens for each prompt of one batch; sequences that have ended leave the batch.

    Returns:
        The chosen tokens [B, S], and for each row how many of them belong to the result [B].
    """
    weight = trunk.embeddings.weight
    lengths, num_steps = np.diff(cu_seqlens).astype(np.int64), int(max_new.max())
    new_BS = np.zeros((len(lengths), num_steps), np.int64)
    num_new = np.zeros(len(lengths), np.int64)
    draws_BS = np.zeros((len(lengths), num_steps))
    if settings.do_sample:
        texts = np.split(input_ids, cu_seqlens[1:-1])
        draws_BS = np.stack(
            [text_draws(settings.seed, int(lang), text, num_steps) for lang, text in zip(langs, texts, strict=True)]
        )
    batch = PackedBatch.from_ragged(
        np.insert(input_ids, cu_seqlens[1:], settings.mask_token_id), cu_seqlens + np.arange(len(cu_seqlens)), langs
    ).to(weight.device)
    cache = KeyValueCache(trunk.config, len(lengths), int((lengths + max_new).max()), weight.device, weight.dtype)
    plan = cache.plan_prefill(batch, trunk.plan_attention(batch))
    rows = np.arange(len(lengths))  # indices of the sequences that have not ended
    for step in range(num_steps):
        hidden_TD = trunk.forward_with_plan(batch, plan)[-1]
        mask_states_BD = hidden_TD[batch.cu_seqlens[1:].long() - 1]
        chosen = _choose_tokens(head, mask_states_BD, draws_BS[rows, step], settings)
        ended = np.isin(chosen, settings.eos_token_ids)
        new_BS[rows, step] = chosen
        num_new[rows] += ~ended | settings.keep_eos
        remaining = np.flatnonzero(~ended & (step + 1 < max_new[rows]))
        if not len(remaining):
            break
        if len(remaining) < len(rows):
            cache.keep_sequences(remaining)
            rows = rows[remaining]
        positions = lengths[rows] + step
        batch = _decode_batch(chosen[remaining], settings.mask_token_id, positions, langs[rows]).to(weight.device)
        plan = cache.plan_decode(batch)
    return new_BS, num_new


def _decode_batch(chosen: IntArray, mask_token_id: int, positions: IntArray, langs: IntArray) -> PackedBatch:
    """Pack the tokens of a decode pass: for each sequence, the token just chosen and a mask token."""
    return PackedBatch(
        input_ids=torch.from_numpy(np.stack([chosen, np.full_like(chosen, mask_token_id)], axis=1).ravel()),
        positions=torch.from_numpy((positions[:, None] + np.arange(2)).ravel()),
        cu_seqlens=torch.arange(0, 2 * len(chosen) + 1, 2, dtype=torch.int32),
        langs=torch.from_numpy(np.repeat(langs.astype(np.int64), 2)),
    )


def _choose_tokens(
    head: LanguageModelHead, mask_states_BD: Tensor, draws: NDArray[np.float64], settings: GenerationSettings
) -> NDArray[np.int64]:
    """Choose the next token of each sequence from the hidden state of its mask token; int64 [B], on the host."""
    draws_B = torch.from_numpy(draws).to(mask_states_BD.device)
    chosen: list[Tensor] = []
    for chunk_BD, chunk_draws_B in zip(mask_states_BD.split(_CHUNK_ROWS), draws_B.split(_CHUNK_ROWS), strict=True):
        scores_BV = head.log_probs(chunk_BD)
        if settings.forbidden_ids:
            scores_BV[:, list(settings.forbidden_ids)] = -torch.inf
        if settings.do_sample:
            filtered_BV = filter_scores(scores_BV, settings.temperature, settings.top_k, settings.top_p)
            chosen.append(sample(filtered_BV, chunk_draws_B))
        else:
            chosen.append(scores_BV.argmax(-1))
    return torch.cat(chosen).cpu().numpy()
