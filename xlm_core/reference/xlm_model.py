"""The trunk with the reference's padded interface.

Letters: B sequences, T packed tokens, L padded length, D model width, N heads.
"""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, Unpack, cast

import torch
from torch import Tensor

from xlm_core.model import ExplicitPlan, HiddenStates, PackedBatch, PaddedLayout, Trunk, pack_padded
from xlm_core.reference.outputs import Attentions, TrunkOutput


class PaddedInputs(TypedDict):
    """The reference's keyword arguments other than `input_ids` and `attention_mask`.

    `pack_padded` documents how the tensors are read. The last three select what is returned; None means the
    configuration's value.
    """

    langs: NotRequired[Tensor | None]  # [B, L]
    token_type_ids: NotRequired[Tensor | None]  # [B, L]
    position_ids: NotRequired[Tensor | None]  # [B, L] or [1, L]
    lengths: NotRequired[Tensor | None]  # [B]
    inputs_embeds: NotRequired[Tensor | None]  # [B, L, D], used instead of the word embeddings
    output_hidden_states: NotRequired[bool | None]
    output_attentions: NotRequired[bool | None]
    return_dict: NotRequired[bool | None]  # False returns a plain tuple of the fields that are not None


@dataclass(frozen=True)
class PaddedRun:
    """The trunk's output for padded arguments, as the input of a head."""

    hidden: Tensor  # [T, D]
    batch: PackedBatch
    layout: PaddedLayout  # unpacks to [B, L, …]
    hidden_states: HiddenStates | None  # each [B, L, D], if requested
    attentions: Attentions | None  # each [B, N, L, L], if requested
    return_dict: bool


class XLMModel(Trunk):
    """The trunk: token ids in, one vector per token out.

    `forward_packed` takes packed batches; calling the model takes the reference's padded arguments.
    """

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **inputs: Unpack[PaddedInputs]
    ) -> TrunkOutput | tuple[Any, ...]:
        """Run the model on padded tensors, with the reference's arguments.

        Args:
            input_ids: [B, L]; may be omitted if `inputs_embeds` is given.
            attention_mask: [B, L], 0 at pads.
            inputs: see `PaddedInputs`.
        """
        run = self.run_padded(input_ids, attention_mask, **inputs)
        last_hidden_state = run.layout.unpack(run.hidden)
        return TrunkOutput(last_hidden_state, run.hidden_states, run.attentions).to_return_value(run.return_dict)

    def run_padded(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, **inputs: Unpack[PaddedInputs]
    ) -> PaddedRun:
        """Pack padded tensors, and run the trunk on them.

        Raises:
            TypeError: an unknown argument.
            ValueError: neither ids nor embeddings, shapes that do not match, or an index outside its embedding table.
        """
        if unknown := sorted(inputs.keys() - PaddedInputs.__annotations__.keys()):
            expected = ", ".join(("input_ids", "attention_mask", *PaddedInputs.__annotations__))
            raise TypeError(f"{', '.join(unknown)}: not an argument of XLM, expected one of {expected}")
        with_states, with_attentions, return_dict = (
            bool(getattr(self.config, name) if (wanted := inputs.pop(name, None)) is None else wanted)
            for name in ("output_hidden_states", "output_attentions", "return_dict")
        )
        embeds_BLD = inputs.pop("inputs_embeds", None)
        pad_index = self.config.pad_token_id
        if input_ids is None:
            if embeds_BLD is None:
                raise ValueError("got neither input_ids nor inputs_embeds, expected one of them")
            # placeholders that are packed but never looked up; none of them counts as a pad
            input_ids, pad_index = embeds_BLD.new_zeros(embeds_BLD.shape[:2], dtype=torch.int64), None
        batch, layout = pack_padded(input_ids, attention_mask, pad_index=pad_index, **cast("dict[str, Tensor]", inputs))
        if embeds_BLD is not None and embeds_BLD.shape != (*input_ids.shape, self.config.emb_dim):
            raise ValueError(
                f"inputs_embeds: got shape {list(embeds_BLD.shape)}, expected {[*input_ids.shape, self.config.emb_dim]}"
            )
        embeds_TD = None if embeds_BLD is None else layout.pack(embeds_BLD)
        explicit = (
            ExplicitPlan.from_layout(layout, self.config.causal, self.attention_dropout) if with_attentions else None
        )
        states = self.forward_with_plan(
            batch, explicit or self.plan_attention(batch), inputs_embeds_TD=embeds_TD, output_hidden_states=with_states
        )
        return PaddedRun(
            hidden=states[-1],
            batch=batch,
            layout=layout,
            hidden_states=tuple(layout.unpack(state_TD) for state_TD in states) if with_states else None,
            attentions=tuple(explicit.probabilities) if explicit else None,
            return_dict=return_dict,
        )
