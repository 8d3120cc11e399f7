# One image; the role is the command: serve (default), migrate, sandbox, doctor …
# To pin the base: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
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
    REELGATE_DATA_DIR=/var/lib/reelgate
USER reelgate
WORKDIR /var/lib/reelgate
VOLUME /var/lib/reelgate
EXPOSE 8700 8701
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('REELGATE_PORT', '8700')}/livez\", timeout=2)"]
ENTRYPOINT ["reelgate"]
CMD ["serve"]
