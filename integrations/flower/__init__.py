"""Flower (flwr): clients prove their models, the strategy averages only what is proven.

proving | judging -> sums | task -> arrays -> tickets; metrics    know nothing of Flower
secure -> strategy | client -> records                            the only modules that import flwr
"""
