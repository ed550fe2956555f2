"""Claims of the field, measured: rules of consensus and aggregation, and attacks on them."""
