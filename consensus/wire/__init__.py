"""What travels and what is signed: messages, transactions, genesis, their canonical bytes."""
