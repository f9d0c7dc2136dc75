"""Common corruptions, batched in torch, and the evaluation that uses them."""
