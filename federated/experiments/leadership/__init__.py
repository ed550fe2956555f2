"""Who leads, against skill, stake and hash power."""
