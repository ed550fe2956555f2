"""What the chain says beyond itself: certificates of final blocks and of the ledger. Pure."""
