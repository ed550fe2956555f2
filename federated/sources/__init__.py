"""Where data sets come from: what is registered, the form they are kept in, and fetching."""
