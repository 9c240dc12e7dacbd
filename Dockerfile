# The project alone, for a user without root and without a home. In the project's root:
#   docker build --tag winning-sign .
#   docker run --rm --init --volume runs:/runs winning-sign     # the demo; its report is /runs/sweeps/report.html
# docs/one-machine.md has the image for GPUs. docs/clusters/Dockerfile is another image, that of Ray's pods.
ARG BASE=python:3.12-slim

FROM ${BASE} AS system
# Packages of Debian to add, such as "g++ python3-dev" for --fast.
ARG PACKAGES=""
# NVIDIA's images have no Python.
RUN python3 -c 'import ensurepip' || PACKAGES="$PACKAGES python3 python3-venv"; \
    test -z "$PACKAGES" || { apt-get update && DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends $PACKAGES && rm -rf /var/lib/apt/lists/*; }

# What .devcontainer/devcontainer.json builds; `make` installs the project there.
FROM system AS development
RUN useradd --create-home --shell /bin/bash developer
USER developer

FROM system
LABEL org.opencontainers.image.title="winning-sign" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/winning-sign/winning-sign"
WORKDIR /opt/winning-sign
RUN python3 -m venv venv
ENV PATH=/opt/winning-sign/venv/bin:$PATH

# The large packages first: after a change of the code, only the last layers are built and sent.
COPY docs/clusters/constraints.txt ./
# The address of an index whose torch comes without CUDA, as PyTorch's page on installation has it: several GB less. Its
# version is 2.15.0+cpu, say, which pip takes before PyPI's 2.15.0; it lacks the other packages in the versions pinned.
ARG TORCH_INDEX=""
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch torchvision

COPY pyproject.toml setup.py README.md LICENSE winning_sign.py source/
COPY orchestrator source/orchestrator
COPY workers source/workers
COPY tickets source/tickets
COPY analysis source/analysis
RUN pip install --no-cache-dir --constraint constraints.txt ./source

# Every user may write here, and else only to /tmp: the sweeps, and the cache of prepared data and compiled programs.
RUN mkdir -m 1777 /runs
WORKDIR /runs
ENV XDG_CACHE_HOME=/runs/.cache
USER 65532:65532
ENTRYPOINT ["winning-sign"]
CMD ["sweep", "--datasets", "mnist1d", "--seeds", "3"]
