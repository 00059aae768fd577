"""Text generation with the reference's interface: padded prompts in, padded texts out.

Letters: B sequences, L padded length, S new tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xlm_core.generation.generate import GenerationSettings, generate
from xlm_core.model.padding import pack_padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from xlm_core.heads import XLMWithLMHeadModel


def generate_padded(
    model: XLMWithLMHeadModel,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int | None = None,
    max_length: int | None = None,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = 50,
    top_p: float = 1.0,
    langs: Tensor | int | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Go on with padded prompts, with the reference's arguments, defaults and layout.

    Each row gets what the reference gives its prompt alone; in a padded batch the reference takes pads for text.

    Args:
        model: a causal one.
        input_ids: [B, L].
        attention_mask: [B, L], which tokens are the prompt; if not given, as many from the left as are no pads.
        max_new_tokens: most tokens added. Give this or `max_length`.
        max_length: L and the most tokens added, together.
        do_sample, temperature, top_k, top_p, seed: see `GenerationSettings`; the reference's top_k is 50 by default,
            and None keeps all.
        langs: language ids [B], or one for all; `lang_id` of the configuration if not given.
        eos_token_id: one or several; the configuration's if not given.
        pad_token_id: the configuration's if not given.

    Returns:
        int64 [B, L + n]: the rows as they came, then the new tokens, an end token included, then pads.

    Raises:
        ValueError: none or both of the lengths, a `max_length` that leaves no room, no mask or pad token, or tensors
            of the wrong shape.
    """
    config = model.config
    if (max_new_tokens is None) == (max_length is None):
        raise ValueError("give one of max_new_tokens and max_length")
    if max_length is not None:
        max_new_tokens = max_length - input_ids.shape[1]
        if max_new_tokens < 1:
            raise ValueError(
                f"max_length: got {max_length}, expected more than the {input_ids.shape[1]} of the prompts"
            )
    eos = config.eos_token_id if eos_token_id is None else eos_token_id
    eos_ids = () if eos is None else (eos,) if isinstance(eos, int) else tuple(eos)
    pad = config.pad_token_id if pad_token_id is None else pad_token_id
    if config.mask_token_id is None:
        raise ValueError("mask_token_id: the configuration has none, and generation appends it to the text")
    if pad is None:
        raise ValueError("pad_token_id: the configuration has none, give one for the rows that end early")
    settings = GenerationSettings(
        max_new_tokens=max_new_tokens,  # pyright: ignore[reportArgumentType]  # one of the two was given
        mask_token_id=config.mask_token_id,
        eos_token_ids=eos_ids,
        keep_eos=True,
        do_sample=do_sample,
        temperature=temperature,
        top_k=top_k or 0,
        top_p=top_p,
        seed=seed,
    )
    if langs is None:
        langs = -1 if config.lang_id is None else config.lang_id
    langs_B = torch.as_tensor(langs)
    if langs_B.shape not in ((), (1,), (len(input_ids),)):
        raise ValueError(f"langs: expected one id, or shape [{len(input_ids)}]; got {list(langs_B.shape)}")
    langs_B = langs_B.expand(len(input_ids)).cpu().numpy()
    prompts, _ = pack_padded(input_ids, attention_mask, pad_index=pad)
    cu_prompts = prompts.cu_seqlens.cpu().numpy()
    new_ids, cu_new = generate(model.trunk, model.head, prompts.input_ids.cpu().numpy(), cu_prompts, langs_B, settings)
    lengths = np.diff(cu_new)
    new_BS = np.full((len(lengths), lengths.max()), pad, np.int64)
    new_BS[np.arange(lengths.max()) < lengths[:, None]] = new_ids
    return torch.cat([input_ids, torch.from_numpy(new_BS).to(input_ids)], dim=1)
