# One image; the role is the command: serve (default), worker, migrate, sandbox, doctor …
# Another base: --build-arg PYTHON_IMAGE=python:… — by default the next stage, whose digest is an index of every
# architecture. How to renew it is in CONTRIBUTING.md.
ARG PYTHON_IMAGE=base
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS base

FROM ${PYTHON_IMAGE} AS build
WORKDIR /opt/reelgate
RUN python -m venv .venv
COPY requirements.lock ./
RUN .venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
COPY docs docs
RUN .venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable .

FROM ${PYTHON_IMAGE}
# TLS to RunComfy trusts the system's store.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /var/lib/reelgate --create-home reelgate
COPY --from=build /opt/reelgate /opt/reelgate
ENV PATH=/opt/reelgate/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REELGATE_HOST=0.0.0.0 \
    REELGATE_SANDBOX_HOST=0.0.0.0 \
    REELGATE_WORKER_PORT=8702 \
    REELGATE_DATA_DIR=/var/lib/reelgate
LABEL org.opencontainers.image.title="Reelgate" \
      org.opencontainers.image.description="A gateway in front of RunComfy's asynchronous media generation API." \
      org.opencontainers.image.licenses="Apache-2.0"
# --build-arg VERSION=… REVISION=…: what it was built from.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
USER reelgate
WORKDIR /var/lib/reelgate
VOLUME /var/lib/reelgate
EXPOSE 8700 8701 8702
STOPSIGNAL SIGTERM
# Of a server, a worker and a sandbox alike.
COPY tools/healthcheck.py /opt/reelgate/healthcheck.py
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s CMD ["python", "/opt/reelgate/healthcheck.py"]
ENTRYPOINT ["reelgate"]
CMD ["serve"]
