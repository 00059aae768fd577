"""The model for multiple choice, with the reference's padded interface.

Letters: B questions, L padded length.
"""

from typing import Any, ClassVar, Unpack, cast

import torch.nn.functional as F
from torch import Tensor

from xlm_core.checkpoint import ModelKind, XLMConfig
from xlm_core.heads import MultipleChoiceHead
from xlm_core.reference.outputs import ScoresOutput
from xlm_core.reference.trunk_with_head import TrunkWithScoringHead
from xlm_core.reference.xlm_model import PaddedInputs


class XLMForMultipleChoice(TrunkWithScoringHead[MultipleChoiceHead]):
    """The trunk with a multiple choice head."""

    kind: ClassVar[ModelKind] = "multiple-choice"
    reference_class: ClassVar[str] = "XLMForMultipleChoice"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config, MultipleChoiceHead(config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> ScoresOutput | tuple[Any, ...]:
        """Run the model on padded tensors, with the reference's arguments.

        `last`, `mean` and `cls_index` summaries ignore pads; the reference's include them. `lengths` is used; the
        reference ignores it.

        Args:
            input_ids, attention_mask: [B, choices, L].
            labels: [B], index of the correct choice.
            inputs: see `PaddedInputs`; the second dimension is the choices, and `lengths` is [B, choices].

        Returns:
            logits [B, choices]; hidden states and attentions of [B * choices] sequences.
        """
        tokens = input_ids if input_ids is not None else inputs.get("inputs_embeds")
        if tokens is None or tokens.dim() < 3:
            got = None if tokens is None else list(tokens.shape)
            raise ValueError(f"input_ids or inputs_embeds: got shape {got}, expected [batch, choices, length, …]")
        shape = tokens.shape[:2]

        def flatten_choices(name: str, value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if value.shape[:2] != shape:
                raise ValueError(f"{name}: got shape {list(value.shape)}, expected it to begin with {[*shape]}")
            return value.flatten(0, 1)

        run = self.trunk.run_padded(
            flatten_choices("input_ids", input_ids),
            flatten_choices("attention_mask", attention_mask),
            **cast("PaddedInputs", {name: flatten_choices(name, value) for name, value in inputs.items()}),
        )
        logits = self.head.forward_packed(run.hidden, run.batch.cu_seqlens).unflatten(0, shape)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ScoresOutput(loss, logits, run.hidden_states, run.attentions).to_return_value(run.return_dict)
