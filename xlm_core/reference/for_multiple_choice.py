"""Multiple choice: a trunk with a head.

Letters: B questions, L padded length.
"""

from typing import Any, ClassVar, Unpack, cast

import torch.nn.functional as F
from torch import Tensor

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.names import Kind
from xlm_core.heads.multiple_choice import MultipleChoiceHead
from xlm_core.reference.outputs import ScoresOutput
from xlm_core.reference.trunk_with_head import TrunkWithScoringHead
from xlm_core.reference.xlm_model import PaddedInputs


class XLMForMultipleChoice(TrunkWithScoringHead[MultipleChoiceHead]):
    """The trunk with a multiple choice head."""

    kind: ClassVar[Kind] = "multiple-choice"
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
        """Run padded tensors, with the reference's arguments.

        `last`, `mean` and `cls_index` summaries see real tokens only; the reference's see the pads too. `lengths`
        are used, not ignored as there.

        Args:
            input_ids, attention_mask: [B, choices, L].
            labels: [B], the number of the right choice.
            inputs: see `PaddedInputs`; all with the choices as second dimension, `lengths` [B, choices].

        Returns:
            logits [B, choices]; hidden states and attentions of [B * choices] sequences.
        """
        shaped_by = input_ids if input_ids is not None else inputs.get("inputs_embeds")
        if shaped_by is None or shaped_by.dim() < 3:
            got = None if shaped_by is None else list(shaped_by.shape)
            raise ValueError(f"input_ids or inputs_embeds: expected [batch, choices, length, …], got {got}")
        shape = shaped_by.shape[:2]

        def flat(name: str, value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if value.shape[:2] != shape:
                raise ValueError(f"{name}: expected shape {[*shape]} and more, got {list(value.shape)}")
            return value.flatten(0, 1)

        encoded = self.trunk.encode_padded(
            flat("input_ids", input_ids),
            flat("attention_mask", attention_mask),
            **cast("PaddedInputs", {name: flat(name, value) for name, value in inputs.items()}),
        )
        logits = self.head.forward_packed(encoded.hidden, encoded.batch.cu_seqlens).unflatten(0, shape)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ScoresOutput(loss, logits, encoded.hidden_states, encoded.attentions).reply(encoded.return_dict)
