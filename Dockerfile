# syntax=docker/dockerfile:1
# Targets: cpu (API and CPU workers), gpu (workers on CUDA devices).

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kernels kernels
COPY prover prover
COPY consensus consensus
COPY federated federated
COPY api api
COPY bench bench
COPY integrations integrations
RUN useradd --system --uid 10001 --home-dir /data zkpot && install -d -o zkpot /data
# All that the program and its packages keep goes into the volume: the root may be read-only.
ENV ZKPOT_DATA_DIR=/data ZKPOT_CACHE_DIR=/data/cache \
    CUPY_CACHE_DIR=/data/cache/cupy CUDA_CACHE_PATH=/data/cache/cuda

FROM base AS cpu
RUN pip install '.[s3]'
USER zkpot
WORKDIR /data
VOLUME /data
CMD ["zkpot", "--help"]

FROM base AS gpu
RUN pip install '.[gpu,s3]'
USER zkpot
WORKDIR /data
VOLUME /data
CMD ["zkpot", "--help"]
