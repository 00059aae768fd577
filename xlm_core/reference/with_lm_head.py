"""The model for language modeling and text generation, with the reference's padded interface.

Letters: B sequences, L padded length, D model width, V words, S new tokens.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import torch
from torch import Tensor

from xlm_core.checkpoint import ModelKind, XLMConfig
from xlm_core.errors import CheckpointError
from xlm_core.generation import GenerationSettings, generate
from xlm_core.heads import FullSoftmax, LanguageModelHead
from xlm_core.model import pack_padded
from xlm_core.reference.outputs import ScoresOutput
from xlm_core.reference.trunk_with_head import TrunkWithScoringHead
from xlm_core.reference.xlm_model import PaddedInputs


class XLMWithLMHeadModel(TrunkWithScoringHead[LanguageModelHead]):
    """The trunk with a language model head.

    If `tie_word_embeddings` is true, the trunk's word embeddings and the head's projection share one parameter, also
    after loading or moving the model.
    """

    kind: ClassVar[ModelKind] = "language-modeling"
    reference_class: ClassVar[str] = "XLMWithLMHeadModel"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config, LanguageModelHead(config))
        self._tie()
        self.register_load_state_dict_post_hook(_tie_after_loading)

    def _tie(self) -> None:
        if self.config.tie_word_embeddings:
            self.head.tie(self.trunk.embeddings)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:  # moving a module can split shared parameters
        module = super()._apply(fn, recurse)
        self._tie()
        return module

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        **inputs: Unpack[PaddedInputs],
    ) -> ScoresOutput | tuple[Any, ...]:
        """Run the model on padded tensors, with the reference's arguments.

        Args:
            input_ids, attention_mask: [B, L].
            labels: [B, L] word ids, each at the position where it is predicted (labels are not shifted, contrary to the
                reference's documentation); -100 where there is none, pads included.
            logits_to_keep: compute logits only for this many last columns; 0 for all. The loss covers all columns.
            inputs: see `PaddedInputs`.
        """
        run = self.trunk.run_padded(input_ids, attention_mask, **inputs)
        hidden_BLD = run.layout.unpack(run.hidden)
        logits_BLV = self.head(hidden_BLD[:, -logits_to_keep:])  # at pads, the logits of a zero vector
        loss = None if labels is None else self.head.loss(hidden_BLD, labels)
        return ScoresOutput(loss, logits_BLV, run.hidden_states, run.attentions).to_return_value(run.return_dict)

    def generate(
        self,
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
        """Generate text after padded prompts, with the reference's arguments, defaults and output layout.

        The model must be causal. Each row gets the tokens that the reference generates for that prompt alone; in a
        padded batch the reference treats pads as text.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 at tokens of the prompt; see `pack_padded` for the default.
            max_new_tokens: maximum number of new tokens. Give this or `max_length`.
            max_length: maximum of L plus the number of new tokens.
            do_sample, temperature, top_k, top_p, seed: see `GenerationSettings`; as in the reference, the default
                top_k is 50 and None keeps all tokens.
            langs: language ids [B], or one id for all rows; the configuration's `lang_id` if not given.
            eos_token_id: one or several ids; the configuration's if not given.
            pad_token_id: the configuration's if not given.

        Returns:
            int64 [B, L + S]: the input rows, then the new tokens including an end token, then pads.

        Raises:
            ValueError: neither or both of the two lengths, a `max_length` that leaves no room, no mask or pad token, or
                tensors of the wrong shape.
        """
        config = self.config
        if (max_new_tokens is None) == (max_length is None):
            raise ValueError("give exactly one of max_new_tokens and max_length")
        if max_length is not None:
            max_new_tokens = max_length - input_ids.shape[1]
            if max_new_tokens < 1:
                raise ValueError(
                    f"max_length: got {max_length}, expected more than {input_ids.shape[1]} (the length of the prompts)"
                )
        eos = config.eos_token_id if eos_token_id is None else eos_token_id
        eos_ids = () if eos is None else (eos,) if isinstance(eos, int) else tuple(eos)
        pad = config.pad_token_id if pad_token_id is None else pad_token_id
        if config.mask_token_id is None:
            raise ValueError("mask_token_id: not set in the configuration; generation needs a mask token")
        if pad is None:
            raise ValueError("pad_token_id: not set in the configuration; give one to fill rows that end early")
        settings = GenerationSettings(
            max_new_tokens=max_new_tokens,  # pyright: ignore[reportArgumentType]  # one of the two is given
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
            raise ValueError(f"langs: got shape {list(langs_B.shape)}, expected one id or shape [{len(input_ids)}]")
        langs_B = langs_B.expand(len(input_ids)).cpu().numpy()
        prompts, _ = pack_padded(input_ids, attention_mask, pad_index=pad)
        cu_prompts = prompts.cu_seqlens.cpu().numpy()
        new_ids, cu_new = generate(
            self.trunk, self.head, prompts.input_ids.cpu().numpy(), cu_prompts, langs_B, settings
        )
        lengths = np.diff(cu_new)
        new_BS = np.full((len(lengths), lengths.max()), pad, np.int64)
        new_BS[np.arange(lengths.max()) < lengths[:, None]] = new_ids
        return torch.cat([input_ids, torch.from_numpy(new_BS).to(input_ids)], dim=1)


def _tie_after_loading(model: XLMWithLMHeadModel, _: object) -> None:
    """Share one parameter again after `load_state_dict(assign=True)` has assigned two.

    Raises:
        CheckpointError: the two differ; the reference would then run with untied weights despite its configuration.
    """
    layer = model.head.pred_layer
    if not model.config.tie_word_embeddings or not isinstance(layer, FullSoftmax):
        return
    embeddings, projection = model.trunk.embeddings.weight, layer.proj.weight
    are_separate = embeddings.data_ptr() != projection.data_ptr() and embeddings.device == projection.device
    # compared as bytes, because NaN is not equal to itself
    if are_separate and not torch.equal(embeddings.view(torch.uint8), projection.view(torch.uint8)):
        raise CheckpointError(
            "pred_layer.proj.weight: differs from embeddings.weight, expected equal values because"
            " tie_word_embeddings is true; set it to false in config.json if the two were trained separately"
        )
    layer.proj.weight = embeddings
