"""Networks that others have measured: drawn weights, published figures, the table of both."""
