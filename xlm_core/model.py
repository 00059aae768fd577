"""The XLM trunk: a post-norm transformer over packed sequences (Lample & Conneau 2019, arXiv:1901.07291).

Letters: B sequences, T packed tokens, L padded length, D model width, N heads, H head width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NotRequired, Self, TypedDict, Unpack, cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.attention import AttentionPlan, PlanAttention, choose_attention, device_capability
from xlm_core.checkpoint import PretrainedModule
from xlm_core.checkpoint_names import Kind, Part
from xlm_core.config import XLMConfig
from xlm_core.packing import PackedBatch, PaddedLayout, pack_padded
from xlm_core.positions import sinusoidal_positions

HiddenStates = tuple[Tensor, ...]
"""The embeddings' output and each layer's, so one more than there are layers."""


class PaddedInputs(TypedDict):
    """The reference's padded arguments beside `input_ids`; see `pack_padded` for how they are read."""

    attention_mask: NotRequired[Tensor | None]  # [B, L]
    langs: NotRequired[Tensor | None]  # [B, L]
    token_type_ids: NotRequired[Tensor | None]  # [B, L]
    position_ids: NotRequired[Tensor | None]  # [B, L]
    lengths: NotRequired[Tensor | None]  # [B]
    inputs_embeds: NotRequired[Tensor | None]  # [B, L, D], in place of the word vectors


@dataclass(frozen=True)
class TrunkOutput:
    """What the padded interface of the trunk returns; zero at pads."""

    last_hidden_state: Tensor  # [B, L, D]
    hidden_states: HiddenStates | None = None  # each [B, L, D]


class SelfAttention(nn.Module):
    """Multi-head attention of each token to its own sequence."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.heads = (3, config.n_heads, config.head_dim)
        self.qkv = nn.Linear(config.emb_dim, 3 * config.emb_dim)  # one wide product instead of three
        self.out = nn.Linear(config.emb_dim, config.emb_dim)

    def forward(self, hidden_TD: Tensor, plan: AttentionPlan) -> Tensor:
        """Mix each sequence's tokens."""
        qkv_T3NH = self.qkv(hidden_TD).unflatten(-1, self.heads)
        return self.out(plan.attend(qkv_T3NH).flatten(-2))


class FeedForward(nn.Module):
    """Two linear layers with a non-linearity between, four times as wide inside."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.lin1 = nn.Linear(config.emb_dim, 4 * config.emb_dim)
        self.lin2 = nn.Linear(4 * config.emb_dim, config.emb_dim)
        # the exact gelu: the tanh approximation is off by up to 5e-4, which adds up over the layers
        self.activation: Callable[[Tensor], Tensor] = F.gelu if config.gelu_activation else F.relu

    def forward(self, hidden_TD: Tensor) -> Tensor:
        """Transform each token on its own."""
        return self.lin2(self.activation(self.lin1(hidden_TD)))


class Layer(nn.Module):
    """Attention and feed-forward; each adds to the stream, which is normalised after the addition."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.emb_dim, eps=config.layer_norm_eps)
        self.ffn = FeedForward(config)
        self.ffn_norm = nn.LayerNorm(config.emb_dim, eps=config.layer_norm_eps)

    def forward(self, hidden_TD: Tensor, plan: AttentionPlan) -> Tensor:
        """Run one layer."""
        mixed_TD = F.dropout(self.attention(hidden_TD, plan), self.dropout, self.training)
        hidden_TD = self.attention_norm(hidden_TD + mixed_TD)
        mixed_TD = F.dropout(self.ffn(hidden_TD), self.dropout, self.training)
        return self.ffn_norm(hidden_TD + mixed_TD)


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
            table = sinusoidal_positions(config.max_position_embeddings, dim)
            self.position_embeddings.weight = nn.Parameter(
                table.to(self.position_embeddings.weight.device), requires_grad=False
            )
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
        self._check(batch, has_embeds=inputs_embeds_TD is not None)
        if invariant:
            embeds = [None] * len(batch.lengths)
            if inputs_embeds_TD is not None:
                embeds = inputs_embeds_TD.split(batch.lengths.tolist())
            runs = [self._run(one, part) for one, part in zip(batch.split(), embeds, strict=True)]
            states = tuple(torch.cat(parts) for parts in zip(*runs, strict=True))
        else:
            states = self._run(batch, inputs_embeds_TD, keep_all=output_hidden_states)
        return (states[-1], states) if output_hidden_states else states[-1]

    def _run(self, batch: PackedBatch, embeds_TD: Tensor | None, keep_all: bool = True) -> HiddenStates:
        plan = self.plan_attention(batch, self.config.causal, self.config.attention_dropout if self.training else 0.0)
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
        self,
        input_ids: Tensor | None = None,
        *,
        output_hidden_states: bool | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> TrunkOutput:
        """Run padded tensors, with the reference's arguments.

        Args:
            input_ids: [B, L]; may be left out when `inputs_embeds` is given.
            output_hidden_states: also return every layer's; the configuration's choice if not given.
            inputs: see `PaddedInputs` and `pack_padded`.
        """
        hidden_TD, _, layout, states = self.encode_padded(input_ids, output_hidden_states, **inputs)
        return TrunkOutput(layout.unpack(hidden_TD), states)

    def encode_padded(
        self, input_ids: Tensor | None, output_hidden_states: bool | None, **inputs: Unpack[PaddedInputs]
    ) -> tuple[Tensor, PackedBatch, PaddedLayout, HiddenStates | None]:
        """Pack the padded interface's arguments and run them, for a head to go on with.

        Returns:
            hidden_TD, the batch, the way back to [B, L, …], and every layer's states [B, L, D] if wanted.
        """
        embeds_BLD = inputs.pop("inputs_embeds", None)
        pad_index = self.config.pad_token_id
        if input_ids is None:
            if embeds_BLD is None:
                raise ValueError("one of input_ids and inputs_embeds is needed")
            # stand-ins, to be packed but not looked up; none of them counts as a pad
            input_ids, pad_index = embeds_BLD.new_zeros(embeds_BLD.shape[:2], dtype=torch.int64), None
        batch, layout = pack_padded(input_ids, pad_index=pad_index, **cast("dict[str, Tensor]", inputs))
        if embeds_BLD is not None and embeds_BLD.shape != (*input_ids.shape, self.config.emb_dim):
            raise ValueError(
                f"inputs_embeds: expected shape {[*input_ids.shape, self.config.emb_dim]}, got {list(embeds_BLD.shape)}"
            )
        embeds_TD = None if embeds_BLD is None else layout.pack(embeds_BLD)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        if not wanted:
            return self.forward_packed(batch, inputs_embeds_TD=embeds_TD), batch, layout, None
        hidden_TD, states = self.forward_packed(batch, output_hidden_states=True, inputs_embeds_TD=embeds_TD)
        return hidden_TD, batch, layout, tuple(layout.unpack(state_TD) for state_TD in states)

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
        dropout = self.config.attention_dropout if self.training else 0.0
        self.plan_attention = choose_attention(
            weight.device, weight.dtype, self.config.head_dim, dropout, device_capability(weight.device)
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
