# Worker, API and every command of Lifecycle in one image:  docker build -t lifecycle:local .
# It runs as user 10001, writes nothing, and holds one virtual environment beside Python.

# The Python and the Debian that the tests run on.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm


FROM ${PYTHON_IMAGE} AS build

# The uv of scripts/setup; a test compares the two.
ARG UV_VERSION=0.13.8
RUN python3 -m venv /opt/uv \
 && /opt/uv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}"

ENV UV_PROJECT_ENVIRONMENT=/opt/lifecycle \
    UV_PYTHON_DOWNLOADS=never \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1
WORKDIR /build

# The dependencies have a layer of their own, which is made anew only when they change.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --quiet --frozen --no-dev --extra otel --no-install-project --python "$(command -v python3)"

COPY LICENSE README.md ./
COPY src src
RUN /opt/uv/bin/uv sync --quiet --frozen --no-dev --extra otel --no-editable --python "$(command -v python3)"


FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="Lifecycle" \
      org.opencontainers.image.description="Things happen later, and exactly as agreed." \
      org.opencontainers.image.licenses="Apache-2.0"

# A volume that is mounted on one of the folders of secrets takes over its owner.
RUN groupadd --gid 10001 lifecycle \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin lifecycle \
 && install --directory --owner=10001 --group=10001 --mode=0700 \
      /secrets/lifecycle /secrets/mysql /secrets/restate

COPY --from=build /opt/lifecycle /opt/lifecycle
ENV PATH=/opt/lifecycle/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LIFECYCLE_API_HOST=0.0.0.0 \
    LIFECYCLE_WORKER_HOST=0.0.0.0

USER 10001:10001
EXPOSE 8000 9080
ENTRYPOINT ["lifecycle"]
