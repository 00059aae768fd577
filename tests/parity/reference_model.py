"""The reference implementation with random weights, and sequences to feed it."""

import torch
from transformers import XLMConfig as ReferenceConfig

from xlm_core.model.packing import PackedBatch

HIDDEN, LOGITS = 2e-5, 1e-4  # largest absolute differences allowed

MAX_POSITIONS = 24
LENGTHS = [5, 1, 24, 7, 5, 12, 23, 1]  # the shortest, the longest, and lengths that come twice, scattered

TINY = {
    "vocab_size": 60,
    "emb_dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_langs": 3,
    "max_position_embeddings": MAX_POSITIONS,
    "pad_token_id": 2,
}


def reference(model_class, **changes):
    """Build a reference model, biases and layer norms randomised too: at their defaults an error in them hides."""
    model = model_class(ReferenceConfig(**(TINY | changes)))
    generator = torch.Generator().manual_seed(len(str(changes)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("position_embeddings.weight") and changes.get("sinusoidal_embeddings"):
                continue  # the table itself is what is to be compared
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_weight = "layer_norm" in name and name.endswith("weight")
            parameter.copy_(1 + 0.3 * noise if is_norm_weight else 0.25 * noise)
    return model.eval()


def save(model, directory, form):
    """Save through the reference: its own safetensors, or its state as a .bin of either age."""
    model.save_pretrained(directory)
    if form != "safetensors":
        (directory / "model.safetensors").unlink()
        zipped = form == "bin"
        torch.save(model.state_dict(), directory / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    return directory


def sequences(lengths=LENGTHS, seed=0):
    """Draw (ids [1, n], langs [1, n]) of each length; no id is the pad's, and langs change from token to token."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randint(3, TINY["vocab_size"], (1, length), generator=generator),
            torch.randint(0, TINY["n_langs"], (1, length), generator=generator),
        )
        for length in lengths
    ]


def padded(drawn, pad=2):
    """Lay sequences side by side, [B, L]: ids, langs, mask."""
    width = max(ids.shape[1] for ids, _ in drawn)
    ids = torch.full((len(drawn), width), pad)
    langs, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (row_ids, row_langs) in enumerate(drawn):
        length = row_ids.shape[1]
        ids[row, :length], langs[row, :length], mask[row, :length] = row_ids, row_langs, 1
    return ids, langs, mask


def pack(drawn):
    """Lay sequences end to end."""
    ids = torch.cat([ids[0] for ids, _ in drawn])
    positions = torch.cat([torch.arange(ids.shape[1]) for ids, _ in drawn])
    cu_seqlens = torch.tensor([0] + [ids.shape[1] for ids, _ in drawn]).cumsum(0).int()
    return PackedBatch(ids, positions, cu_seqlens, torch.cat([langs[0] for _, langs in drawn]))


def packed_ways(model, drawn):
    """Run the packed interface twice: each sequence in a batch of its own, then all sequences in one batch."""
    return [
        torch.cat([model.forward_packed(pack([one])) for one in drawn]),
        model.forward_packed(pack(drawn)),
    ]
