"""Text generation with a causal checkpoint, over packed prompts of any lengths, with a key/value cache.

XLM predicts the next token from the state of a mask token that stands after the text, not from the text's last
token. So the first pass runs each prompt and a mask token, and every later one two tokens of each sequence: the one
just chosen, whose keys and values stay, and a new mask token, whose do not. The tokens are those of the reference's
`generate(..., use_cache=False)`; with its cache the reference loses its way.

Letters: B sequences, T packed tokens, L padded length, D model width, V words of the vocabulary, S new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from xlm_core.errors import FatalError
from xlm_core.generation.sampling import filter_scores, sample, text_draws
from xlm_core.model.kv_cache import KeyValueCache
from xlm_core.model.packing import IntArray, PackedBatch, cumulative_lengths, take_ragged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xlm_core.heads import LanguageModelHead
    from xlm_core.model.trunk import Trunk

_ROWS_AT_ONCE = 64  # of scores over the vocabulary: 51 MB for 200,000 words, and sampling needs a few times as much


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """How a text goes on.

    Attributes:
        max_new_tokens: most tokens added to a prompt; the model's last position may end it before.
        mask_token_id: the token from whose state the next one is predicted; `mask_token_id` of the configuration.
        eos_token_ids: a sequence ends with the first of these.
        keep_eos: whether that token is part of the result.
        forbidden_ids: never chosen.
        do_sample: sample instead of taking the best token.
        temperature, top_k, top_p: shape the distribution that is sampled; see `filter_scores`.
        seed: of the draws. They belong to the prompt and its language too, so equal prompts go on alike.
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
        for name, bounds, holds in (
            ("max_new_tokens", "at least 1", self.max_new_tokens >= 1),
            ("temperature", "above 0 (without do_sample the best token is taken)", self.temperature > 0),
            ("top_k", "at least 0 (0 keeps all)", self.top_k >= 0),
            ("top_p", "above 0 and at most 1 (1 keeps all)", 0 < self.top_p <= 1),
        ):
            if not holds:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {bounds}")


@torch.inference_mode()
def generate(
    trunk: Trunk,
    head: LanguageModelHead,
    ids: IntArray,
    cu_seqlens: IntArray,
    langs: IntArray | None,
    settings: GenerationSettings,
    *,
    max_tokens: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Go on with each prompt until an end token, the settings' limit or the model's last position.

    What a prompt gets does not depend on its neighbours but for the last bits of the scores, and with
    `max_tokens=1`, where it runs alone, not even in those.

    Args:
        trunk: a causal one, in evaluation mode.
        head: on the same device.
        ids: [T], prompts end to end.
        cu_seqlens: [B + 1].
        langs: [B], a language for each prompt and what follows it; -1, or None for all, adds no language vector.
        settings: see there.
        max_tokens: how many tokens, prompts and results together, run and are cached at once; a prompt that needs
            more runs alone. Everything in one batch if not given.

    Returns:
        The new tokens alone, as int32 [T'] and cu_seqlens int32 [B + 1]; a prompt may get none.

    Raises:
        FatalError: a trunk that is not causal.
        ValueError: a prompt longer than the model's positions, an id that the model does not know, no id that is
            not forbidden, or langs that do not fit the prompts.
    """
    config = trunk.config
    if not config.causal:
        raise FatalError(
            "text generation needs a causal model, and this checkpoint says causal: false in config.json;"
            " state the objective (causal) if it was trained to predict the next token"
        )
    forbidden = set(settings.forbidden_ids)
    if len(forbidden) >= config.vocab_size or not all(0 <= i < config.vocab_size for i in forbidden):
        raise ValueError(
            f"forbidden_ids: got {len(forbidden)} from {min(forbidden)} to {max(forbidden)}, expected ids from 0 to"
            f" {config.vocab_size - 1} (vocab_size is {config.vocab_size}), and not all of them"
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
        raise ValueError(f"langs: expected one per prompt ({len(lengths)}), got {len(langs)}")
    # the pass that chooses a text's token number n has n tokens and the mask token, so the text can fill every position
    room = np.minimum(settings.max_new_tokens, config.max_position_embeddings - lengths)
    new_BS = np.zeros((len(lengths), room.max(initial=0)), np.int32)
    num_new = np.zeros(len(lengths), np.int64)
    for index in _batches(lengths, room, max_tokens):
        prompts = take_ragged(ids, cu_seqlens, index)
        batch_BS, num_new[index] = _generate_batch(trunk, head, *prompts, langs[index], room[index], settings)
        new_BS[index, : batch_BS.shape[1]] = batch_BS
    return new_BS[np.arange(new_BS.shape[1]) < num_new[:, None]], cumulative_lengths(num_new)


def _batches(
    lengths: NDArray[np.int64], room: NDArray[np.int64], max_tokens: int | None
) -> Iterator[NDArray[np.int64]]:
    """Group the prompts that have room, longest first; the cache has as many slots for each as for the longest."""
    slots = lengths + room
    order = np.argsort(-slots, kind="stable")
    order = order[room[order] > 0]
    while len(order):
        size = len(order) if max_tokens is None else max(1, max_tokens // int(slots[order[0]]))
        yield order[:size]
        order = order[size:]


def _generate_batch(
    trunk: Trunk,
    head: LanguageModelHead,
    ids: IntArray,
    cu_seqlens: IntArray,
    langs: IntArray,
    room: NDArray[np.int64],
    settings: GenerationSettings,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Run prompts side by side, each for at most `room` steps; the ended ones leave the batch.

    Returns:
        The tokens chosen [B, S], and how many of each row belong to the result [B].
    """
    weight = trunk.embeddings.weight
    lengths, num_steps = np.diff(cu_seqlens).astype(np.int64), int(room.max())
    new_BS = np.zeros((len(lengths), num_steps), np.int64)
    num_new = np.zeros(len(lengths), np.int64)
    draws_BS = np.zeros((len(lengths), num_steps))
    if settings.do_sample:
        texts = np.split(ids, cu_seqlens[1:-1])
        draws_BS = np.stack(
            [text_draws(settings.seed, int(lang), text, num_steps) for lang, text in zip(langs, texts, strict=True)]
        )
    batch = PackedBatch.from_ragged(
        np.insert(ids, cu_seqlens[1:], settings.mask_token_id), cu_seqlens + np.arange(len(cu_seqlens)), langs
    ).to(weight.device)
    cache = KeyValueCache(trunk.config, len(lengths), int((lengths + room).max()), weight.device, weight.dtype)
    plan = cache.plan_prefill(batch, trunk.plan_attention(batch))
    rows = np.arange(len(lengths))  # the sequences that have not ended
    for step in range(num_steps):
        hidden_TD = trunk.forward_with_plan(batch, plan)[-1]
        masks_BD = hidden_TD[batch.cu_seqlens[1:].long() - 1]
        chosen = _choose(head, masks_BD, draws_BS[rows, step], settings)
        ended = np.isin(chosen, settings.eos_token_ids)
        new_BS[rows, step] = chosen
        num_new[rows] += ~ended | settings.keep_eos
        going = np.flatnonzero(~ended & (step + 1 < room[rows]))
        if not len(going):
            break
        if len(going) < len(rows):
            cache.keep_sequences(going)
            rows = rows[going]
        positions = lengths[rows] + step
        batch = _pairs(chosen[going], settings.mask_token_id, positions, langs[rows]).to(weight.device)
        plan = cache.plan_decode(batch)
    return new_BS, num_new


def _pairs(chosen: IntArray, mask_token_id: int, positions: IntArray, langs: IntArray) -> PackedBatch:
    """Pack what a later pass feeds: of each sequence the token just chosen and a mask token."""
    return PackedBatch(
        input_ids=torch.from_numpy(np.stack([chosen, np.full_like(chosen, mask_token_id)], axis=1).ravel()),
        positions=torch.from_numpy((positions[:, None] + np.arange(2)).ravel()),
        cu_seqlens=torch.arange(0, 2 * len(chosen) + 1, 2, dtype=torch.int32),
        langs=torch.from_numpy(np.repeat(langs.astype(np.int64), 2)),
    )


def _choose(
    head: LanguageModelHead, masks_BD: Tensor, draws: NDArray[np.float64], settings: GenerationSettings
) -> NDArray[np.int64]:
    """Choose each sequence's next token from its mask token's state; int64 [B], on the host."""
    draws_B = torch.from_numpy(draws).to(masks_BD.device)
    chosen: list[Tensor] = []
    for some_BD, some_draws_B in zip(masks_BD.split(_ROWS_AT_ONCE), draws_B.split(_ROWS_AT_ONCE), strict=True):
        scores_BV = head.log_probs(some_BD)
        if settings.forbidden_ids:
            scores_BV[:, list(settings.forbidden_ids)] = -torch.inf
        if settings.do_sample:
            filtered_BV = filter_scores(scores_BV, settings.temperature, settings.top_k, settings.top_p)
            chosen.append(sample(filtered_BV, some_draws_B))
        else:
            chosen.append(scores_BV.argmax(-1))
    return torch.cat(chosen).cpu().numpy()
