"""One layer of the trunk: attention and feed-forward network, over packed tokens.

Letters: T packed tokens, D model width, N heads, H head width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint import XLMConfig
from xlm_core.model.attention import AttentionPlan
from xlm_core.model.linear import Linear


class SelfAttention(nn.Module):
    """Multi-head self-attention within each sequence."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.qkv_shape = (3, config.n_heads, config.head_dim)
        self.qkv = Linear(config.emb_dim, 3 * config.emb_dim)  # one wide product instead of three
        self.out = Linear(config.emb_dim, config.emb_dim)

    def forward(self, hidden_TD: Tensor, plan: AttentionPlan) -> Tensor:
        """Apply attention; `plan` defines the sequences."""
        qkv_T3NH = self.qkv(hidden_TD).unflatten(-1, self.qkv_shape)
        return self.out(plan.attend(qkv_T3NH).flatten(-2))


class FeedForward(nn.Module):
    """Two linear layers with an activation after the first one; the inner layer is four times as wide."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.lin1 = Linear(config.emb_dim, 4 * config.emb_dim, "gelu" if config.gelu_activation else "relu")
        self.lin2 = Linear(4 * config.emb_dim, config.emb_dim)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        """Transform each token independently."""
        return self.lin2(self.lin1(hidden_TD))


class Layer(nn.Module):
    """Attention and feed-forward network, each with a residual connection followed by a layer norm (post-norm)."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.emb_dim, eps=config.layer_norm_eps)
        self.ffn = FeedForward(config)
        self.ffn_norm = nn.LayerNorm(config.emb_dim, eps=config.layer_norm_eps)

    def forward(self, hidden_TD: Tensor, plan: AttentionPlan) -> Tensor:
        """Run the layer; `plan` defines the sequences."""
        update_TD = F.dropout(self.attention(hidden_TD, plan), self.dropout, self.training)
        hidden_TD = self.attention_norm(_add(update_TD, hidden_TD))
        update_TD = F.dropout(self.ffn(hidden_TD), self.dropout, self.training)
        return self.ffn_norm(_add(update_TD, hidden_TD))


def _add(update_TD: Tensor, hidden_TD: Tensor) -> Tensor:
    """Add in place, unless autocast has computed the update in half precision, which would round the sum."""
    return update_TD.add_(hidden_TD) if update_TD.dtype == hidden_TD.dtype else update_TD + hidden_TD
