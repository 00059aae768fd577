"""The XLM trunk: a post-norm transformer over packed sequences (Lample & Conneau 2019, arXiv:1901.07291).

Letters: B sequences, T packed tokens, L number of positions, D model width.
"""

from collections.abc import Callable
from itertools import islice
from typing import ClassVar, Literal, Self, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint import ModelKind, ModelPart, PretrainedModule, XLMConfig
from xlm_core.model.attention import AttentionPlan, AttentionPlanner, choose_attention, device_capability
from xlm_core.model.layers import Layer
from xlm_core.model.packing import PackedBatch
from xlm_core.positions import sinusoidal_positions

HiddenStates = tuple[Tensor, ...]
"""The output of the embeddings and of each layer: one tensor more than there are layers."""


class Trunk(PretrainedModule):
    """The trunk: token ids in, one vector per token out."""

    kind: ClassVar[ModelKind] = "trunk"
    parts: ClassVar[tuple[ModelPart, ...]] = ("trunk",)
    reference_class: ClassVar[str] = "XLMModel"

    def __init__(self, config: XLMConfig) -> None:
        """Build a trunk with random weights; `from_pretrained` loads trained ones."""
        super().__init__(config)
        dim = config.emb_dim
        self.embeddings = nn.Embedding(config.vocab_size, dim, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, dim)
        self.lang_embeddings = nn.Embedding(config.n_langs, dim) if config.has_lang_embeddings else None
        self.layer_norm_emb = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.attention_planner: AttentionPlanner
        init_weights(self, config)
        if config.sinusoidal_embeddings:
            table_LD = self.position_embeddings.weight.requires_grad_(False)
            if not table_LD.is_meta:  # on the meta device, the weights come from a checkpoint
                table_LD.copy_(sinusoidal_positions(config.max_position_embeddings, dim))
        self._choose_attention()

    @overload
    def forward_packed(
        self, batch: PackedBatch, *, output_hidden_states: Literal[False] = False,
        inputs_embeds_TD: Tensor | None = None, num_layers: int | None = None,
    ) -> Tensor: ...  # fmt: skip

    @overload
    def forward_packed(
        self, batch: PackedBatch, *, output_hidden_states: Literal[True],
        inputs_embeds_TD: Tensor | None = None, num_layers: int | None = None,
    ) -> tuple[Tensor, HiddenStates]: ...  # fmt: skip

    def forward_packed(
        self,
        batch: PackedBatch,
        *,
        output_hidden_states: bool = False,
        inputs_embeds_TD: Tensor | None = None,
        num_layers: int | None = None,
    ) -> Tensor | tuple[Tensor, HiddenStates]:
        """Run a packed batch.

        A sequence's result depends on the other sequences of the batch in the last bits, because matrix products
        choose their blocking, and with it the order of summation, by the number of rows. For bit-identical results,
        run each sequence as a batch of its own, with the same torch build, device type and number of threads; this
        takes several times as long for short sequences.

        Args:
            batch: on the model's device.
            output_hidden_states: also return the output of the embeddings and of each layer, each [T, D].
            inputs_embeds_TD: used instead of the word embeddings.
            num_layers: run only so many layers; 0 for the embeddings alone, None for all layers.

        Returns:
            hidden_TD, in the batch's order; with `output_hidden_states`, (hidden_TD, all hidden states).

        Raises:
            ValueError: an id, a language or a position outside its embedding table.
        """
        states = self.forward_with_plan(
            batch,
            self.plan_attention(batch),
            inputs_embeds_TD=inputs_embeds_TD,
            output_hidden_states=output_hidden_states,
            num_layers=num_layers,
        )
        return (states[-1], states) if output_hidden_states else states[-1]

    def plan_attention(self, batch: PackedBatch) -> AttentionPlan:
        """Plan the attention of a batch, for the kernel that was chosen for the model."""
        return self.attention_planner(batch, self.config.causal, self.attention_dropout)

    @property
    def attention_dropout(self) -> float:
        """Dropout probability of the attention weights; 0 in evaluation mode."""
        return self.config.attention_dropout if self.training else 0.0

    def forward_with_plan(
        self,
        batch: PackedBatch,
        plan: AttentionPlan,
        *,
        inputs_embeds_TD: Tensor | None = None,
        output_hidden_states: bool = False,
        num_layers: int | None = None,
    ) -> HiddenStates:
        """Run a packed batch with a given attention plan, such as one that fills a key/value cache.

        Args:
            batch: on the model's device.
            plan: made for this batch; each layer calls `attend` once, in order.
            inputs_embeds_TD: used instead of the word embeddings.
            output_hidden_states: return the output of the embeddings and of each layer, not only the last.
            num_layers: see `forward_packed`.

        Returns:
            The hidden states, each [T, D], in the batch's order; the last one is that of the last layer that ran.

        Raises:
            ValueError: an id, a language or a position outside its embedding table.
        """
        self._check_ranges(batch, has_embeds=inputs_embeds_TD is not None)
        hidden_TD = plan.to_plan_order(self._embed(batch, inputs_embeds_TD))
        states = [hidden_TD]
        for layer in islice(self.layers, num_layers):
            hidden_TD = layer(hidden_TD, plan)
            states = [*states, hidden_TD] if output_hidden_states else [hidden_TD]
        return tuple(plan.to_batch_order(state_TD) for state_TD in states)

    def _embed(self, batch: PackedBatch, inputs_embeds_TD: Tensor | None) -> Tensor:
        words_TD = self.embeddings(batch.input_ids) if inputs_embeds_TD is None else inputs_embeds_TD
        hidden_TD = words_TD + self.position_embeddings(batch.positions)
        if batch.langs is not None and self.lang_embeddings is not None:
            langs_TD = self.lang_embeddings(batch.langs.clamp(min=0))
            hidden_TD = hidden_TD + langs_TD * (batch.langs >= 0)[:, None]
        if batch.token_types is not None:
            hidden_TD = hidden_TD + self.embeddings(batch.token_types)
        return F.dropout(self.layer_norm_emb(hidden_TD), self.config.dropout, self.training)

    def _check_ranges(self, batch: PackedBatch, has_embeds: bool) -> None:
        """Check that every index is in its embedding table; on a GPU a bad index would destroy the CUDA context."""
        metadata, config = batch.metadata, self.config
        checks = [(metadata.positions_range, 0, config.max_position_embeddings, "positions", "max_position_embeddings")]
        if not has_embeds:
            checks.append((metadata.input_ids_range, 0, config.vocab_size, "input_ids", "vocab_size"))
        if metadata.langs_range is not None and config.has_lang_embeddings:
            checks.append((metadata.langs_range, -1, config.n_langs, "langs", "n_langs"))
        if metadata.token_types_range is not None:
            checks.append((metadata.token_types_range, 0, config.vocab_size, "token_type_ids", "vocab_size"))
        for (low, high), minimum, end, name, setting in checks:
            if low < minimum or high >= end:
                raise ValueError(
                    f"{name}: got {low} to {high}, expected {minimum} to {end - 1} ({setting} is {end});"
                    f" the longest of {len(metadata.lengths)} sequences has {batch.max_seqlen} tokens"
                )

    def _choose_attention(self) -> None:
        weight = self.embeddings.weight
        self.attention_planner = choose_attention(
            weight.device,
            weight.dtype,
            self.config.head_dim,
            self.attention_dropout,
            device_capability(weight.device),
        )

    # The choice depends on device, precision and mode, which only change in these two methods.
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
    """Initialize weights from normal distributions with the configuration's deviations; biases and pad vector to 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=config.init_std)
            if part.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]  # None with bias=False
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=config.embed_init_std)
            if part.padding_idx is not None:
                with torch.no_grad():
                    part.weight[part.padding_idx].zero_()
