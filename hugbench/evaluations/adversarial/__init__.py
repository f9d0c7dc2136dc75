"""Adversarial evaluation: attacks, their guard, the cascade, the ledger and the reliability card."""
