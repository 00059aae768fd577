"""The XLM trunk: a post-norm transformer over packed sequences (Lample & Conneau 2019, arXiv:1901.07291).

Letters: B sequences, T packed tokens, L padded length, D model width, N heads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NotRequired, Self, TypedDict, Unpack, cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint import PretrainedModule
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.names import Kind, Part
from xlm_core.model.attention import AttentionPlan, ExplicitPlan, PlanAttention, choose_attention, device_capability
from xlm_core.model.layers import Layer
from xlm_core.model.packing import PackedBatch
from xlm_core.model.padding import PaddedLayout, pack_padded
from xlm_core.positions import sinusoidal_positions
from xlm_core.reference.outputs import Attentions, HiddenStates, TrunkOutput


class PaddedInputs(TypedDict):
    """The reference's padded arguments beside `input_ids` and `attention_mask`, and what is to be returned.

    `pack_padded` says how they are read. What the last three leave open is the configuration's choice.
    """

    langs: NotRequired[Tensor | None]  # [B, L]
    token_type_ids: NotRequired[Tensor | None]  # [B, L]
    position_ids: NotRequired[Tensor | None]  # [B, L] or [1, L]
    lengths: NotRequired[Tensor | None]  # [B]
    inputs_embeds: NotRequired[Tensor | None]  # [B, L, D], in place of the word vectors
    output_hidden_states: NotRequired[bool | None]
    output_attentions: NotRequired[bool | None]
    return_dict: NotRequired[bool | None]  # False gives the plain tuple of what is not None


@dataclass(frozen=True)
class EncodedPadded:
    """The trunk's result for padded arguments, for a head to go on with."""

    hidden: Tensor  # [T, D]
    batch: PackedBatch
    layout: PaddedLayout  # the way back to [B, L, …]
    hidden_states: HiddenStates | None  # each [B, L, D], where wanted
    attentions: Attentions | None  # each [B, N, L, L], where wanted
    return_dict: bool


class XLMModel(PretrainedModule):
    """The trunk: tokens in, one vector per token out."""

    kind: ClassVar[Kind] = "trunk"
    parts: ClassVar[tuple[Part, ...]] = ("trunk",)
    reference_class: ClassVar[str] = "XLMModel"

    def __init__(self, config: XLMConfig) -> None:
        """Build with fresh random weights; `from_pretrained` loads trained ones."""
        super().__init__(config)
        dim = config.emb_dim
        self.embeddings = nn.Embedding(config.vocab_size, dim, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, dim)
        self.lang_embeddings = nn.Embedding(config.n_langs, dim) if config.has_lang_embeddings else None
        self.layer_norm_emb = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.plan_attention: PlanAttention
        init_weights(self, config)
        if config.sinusoidal_embeddings:
            table_LD = self.position_embeddings.weight.requires_grad_(False)
            if not table_LD.is_meta:  # there a checkpoint is about to bring it
                table_LD.copy_(sinusoidal_positions(config.max_position_embeddings, dim))
        self._choose_attention()

    @overload
    def forward_packed(
        self, batch: PackedBatch, *, output_hidden_states: Literal[False] = False, invariant: bool = False,
        inputs_embeds_TD: Tensor | None = None,
    ) -> Tensor: ...  # fmt: skip

    @overload
    def forward_packed(
        self, batch: PackedBatch, *, output_hidden_states: Literal[True], invariant: bool = False,
        inputs_embeds_TD: Tensor | None = None,
    ) -> tuple[Tensor, HiddenStates]: ...  # fmt: skip

    def forward_packed(
        self,
        batch: PackedBatch,
        *,
        output_hidden_states: bool = False,
        invariant: bool = False,
        inputs_embeds_TD: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, HiddenStates]:
        """Run a packed batch.

        Args:
            batch: on the model's device.
            output_hidden_states: also return the embeddings' output and every layer's, each [T, D].
            invariant: run every sequence as a forward of its own, so that its bytes cannot depend on its
                neighbours. Otherwise they do, in the last bits: a matrix product picks its blocking, and with it
                the order of its sums, by the number of rows. The guarantee holds for one torch build, device
                type and thread count, costs several times the time for short sequences, and ends at the
                trunk: run heads on each of `batch.split()` as well, as the XLMFor… classes do.
            inputs_embeds_TD: take these in place of the word vectors.

        Returns:
            hidden_TD, in the batch's order; with `output_hidden_states`, (hidden_TD, all of them).

        Raises:
            ValueError: an id, a language or a position that the model has no vector for.
        """
        if invariant:
            embeds = [None] * len(batch.lengths)
            if inputs_embeds_TD is not None:
                embeds = inputs_embeds_TD.split(batch.lengths.tolist())
            runs = [
                self.run_plan(one, self.plan(one), embeds_TD=part, keep_all=output_hidden_states)
                for one, part in zip(batch.split(), embeds, strict=True)
            ]
            states = tuple(torch.cat(parts) for parts in zip(*runs, strict=True))
        else:
            states = self.run_plan(batch, self.plan(batch), embeds_TD=inputs_embeds_TD, keep_all=output_hidden_states)
        return (states[-1], states) if output_hidden_states else states[-1]

    def plan(self, batch: PackedBatch) -> AttentionPlan:
        """Plan a batch's attention with the kernel chosen for the model."""
        return self.plan_attention(batch, self.config.causal, self._attention_dropout)

    @property
    def _attention_dropout(self) -> float:
        return self.config.attention_dropout if self.training else 0.0

    def run_plan(
        self, batch: PackedBatch, plan: AttentionPlan, *, embeds_TD: Tensor | None = None, keep_all: bool = False
    ) -> HiddenStates:
        """Run a packed batch with a ready plan of its attention, for those who need one of their own.

        Args:
            batch: on the model's device.
            plan: made for this batch; its `attend` is called once by each layer, in their order.
            embeds_TD: take these in place of the word vectors.
            keep_all: return the embeddings' output and every layer's, not the last alone.

        Returns:
            The states, each [T, D], in the batch's order; the last is the trunk's output.

        Raises:
            ValueError: an id, a language or a position that the model has no vector for.
        """
        self._check(batch, has_embeds=embeds_TD is not None)
        hidden_TD = plan.enter(self._embed(batch, embeds_TD))
        states = [hidden_TD]
        for layer in self.layers:
            hidden_TD = layer(hidden_TD, plan)
            states = [*states, hidden_TD] if keep_all else [hidden_TD]
        return tuple(plan.leave(state_TD) for state_TD in states)

    def _embed(self, batch: PackedBatch, embeds_TD: Tensor | None) -> Tensor:
        words_TD = self.embeddings(batch.input_ids) if embeds_TD is None else embeds_TD
        hidden_TD = words_TD + self.position_embeddings(batch.positions)
        if batch.langs is not None and self.lang_embeddings is not None:
            langs_TD = self.lang_embeddings(batch.langs.clamp(min=0))
            hidden_TD = hidden_TD + langs_TD * (batch.langs >= 0)[:, None]
        if batch.token_types is not None:
            hidden_TD = hidden_TD + self.embeddings(batch.token_types)
        return F.dropout(self.layer_norm_emb(hidden_TD), self.config.dropout, self.training)

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **inputs: Unpack[PaddedInputs]
    ) -> TrunkOutput | tuple[Any, ...]:
        """Run padded tensors, with the reference's arguments.

        Args:
            input_ids: [B, L]; may be left out when `inputs_embeds` is given.
            attention_mask: [B, L], 0 at pads.
            inputs: see `PaddedInputs`.
        """
        encoded = self.encode_padded(input_ids, attention_mask, **inputs)
        last_hidden_state = encoded.layout.unpack(encoded.hidden)
        return TrunkOutput(last_hidden_state, encoded.hidden_states, encoded.attentions).reply(encoded.return_dict)

    def encode_padded(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, **inputs: Unpack[PaddedInputs]
    ) -> EncodedPadded:
        """Pack the padded interface's arguments and run them.

        Raises:
            TypeError: an argument that is none of them.
            ValueError: no ids and no embeddings, shapes that do not fit, or what `run_plan` refuses.
        """
        if unknown := sorted(inputs.keys() - PaddedInputs.__annotations__.keys()):
            expected = ", ".join(("input_ids", "attention_mask", *PaddedInputs.__annotations__))
            raise TypeError(f"{', '.join(unknown)}: not an argument of XLM here; expected one of {expected}")
        with_states, with_attentions, return_dict = (
            bool(getattr(self.config, name) if (wanted := inputs.pop(name, None)) is None else wanted)
            for name in ("output_hidden_states", "output_attentions", "return_dict")
        )
        embeds_BLD = inputs.pop("inputs_embeds", None)
        pad_index = self.config.pad_token_id
        if input_ids is None:
            if embeds_BLD is None:
                raise ValueError("one of input_ids and inputs_embeds is needed")
            # stand-ins, to be packed but not looked up; none of them counts as a pad
            input_ids, pad_index = embeds_BLD.new_zeros(embeds_BLD.shape[:2], dtype=torch.int64), None
        batch, layout = pack_padded(input_ids, attention_mask, pad_index=pad_index, **cast("dict[str, Tensor]", inputs))
        if embeds_BLD is not None and embeds_BLD.shape != (*input_ids.shape, self.config.emb_dim):
            raise ValueError(
                f"inputs_embeds: expected shape {[*input_ids.shape, self.config.emb_dim]}, got {list(embeds_BLD.shape)}"
            )
        embeds_TD = None if embeds_BLD is None else layout.pack(embeds_BLD)
        explicit = ExplicitPlan.of(layout, self.config.causal, self._attention_dropout) if with_attentions else None
        states = self.run_plan(batch, explicit or self.plan(batch), embeds_TD=embeds_TD, keep_all=with_states)
        return EncodedPadded(
            hidden=states[-1],
            batch=batch,
            layout=layout,
            hidden_states=tuple(layout.unpack(state_TD) for state_TD in states) if with_states else None,
            attentions=tuple(explicit.probabilities) if explicit else None,
            return_dict=return_dict,
        )

    def _check(self, batch: PackedBatch, has_embeds: bool) -> None:
        """Refuse what an embedding table has no row for; on a GPU that would kill the process's CUDA context."""
        facts, config = batch.facts, self.config
        checks = [(facts.positions, 0, config.max_position_embeddings, "positions", "max_position_embeddings")]
        if not has_embeds:
            checks.append((facts.ids, 0, config.vocab_size, "input_ids", "vocab_size"))
        if facts.langs is not None and config.has_lang_embeddings:
            checks.append((facts.langs, -1, config.n_langs, "langs", "n_langs"))
        if facts.token_types is not None:
            checks.append((facts.token_types, 0, config.vocab_size, "token_type_ids", "vocab_size"))
        for (low, high), floor, ceiling, name, setting in checks:
            if low < floor or high >= ceiling:
                raise ValueError(
                    f"{name}: got {low} to {high}, expected {floor} to {ceiling - 1} ({setting} is {ceiling});"
                    f" the longest of {len(facts.lengths)} sequences has {batch.max_seqlen} tokens"
                )

    def _choose_attention(self) -> None:
        weight = self.embeddings.weight
        self.plan_attention = choose_attention(
            weight.device,
            weight.dtype,
            self.config.head_dim,
            self._attention_dropout,
            device_capability(weight.device),
        )

    # The kernel depends on device, precision and mode, and these two are where a module's change.
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        module = super()._apply(fn, recurse)
        self._choose_attention()
        return module

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode."""
        module = super().train(mode)
        self._choose_attention()
        return module


def init_weights(module: nn.Module, config: XLMConfig) -> None:
    """Draw fresh weights as the configuration says: normal, biases and the pad's vector zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=config.init_std)
            if part.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]  # with bias=False it is
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=config.embed_init_std)
            if part.padding_idx is not None:
                with torch.no_grad():
                    part.weight[part.padding_idx].zero_()
