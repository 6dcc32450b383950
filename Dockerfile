# Build: the locked requirements (durable-rules is compiled) and the package, in one environment.
FROM python:3.12-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/nextbest
ENV PATH=/opt/nextbest/bin:$PATH
WORKDIR /src
COPY requirements-build.lock requirements.lock ./
RUN pip install --require-hashes -r requirements-build.lock \
    && pip install --require-hashes --no-build-isolation -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY decision decision
COPY rules rules
COPY models models
RUN pip install --no-deps --no-build-isolation .

# Run: no compiler, no root.
FROM python:3.12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /app nextbest
COPY --from=build /opt/nextbest /opt/nextbest
COPY --chown=nextbest rules /app/rules
COPY --chown=nextbest models /app/models
ENV PATH=/opt/nextbest/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NEXTBEST_HOST=0.0.0.0 \
    NEXTBEST_PORT=8000
WORKDIR /app
USER nextbest
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['NEXTBEST_PORT'] + '/health/live', timeout=2)"]
# With no API keys the server listens on loopback only, inside the container: give it
# NEXTBEST_API_KEYS_FILE, as compose.yaml does.
ENTRYPOINT ["nextbest"]
CMD ["serve"]
