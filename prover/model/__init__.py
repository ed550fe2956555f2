"""The integer model: public architecture, private tensors, exact semantics, canonical bytes."""
