# The service's image: no root, no build tools, nothing written but /var/lib/chatbot.
# docs/deploying.md says how to run it.
#
# The base has a tag and no digest: a digest would also freeze Debian's packages, holes included,
# until somebody edits this line. To pin it: --build-arg PYTHON=python:3.11-slim@sha256:...
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/chatbot
COPY requirements-postgres.lock ./
RUN python -m pip --python /opt/chatbot/bin/python install --no-cache-dir --only-binary :all: \
    --no-deps --require-hashes -r requirements-postgres.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m pip --python /opt/chatbot/bin/python install --no-cache-dir --no-index --no-deps \
    --no-build-isolation .
# What only built the project goes; what is left still has to fit together.
RUN python -m pip --python /opt/chatbot/bin/python uninstall --yes \
    editables hatchling pathspec pluggy tomlkit trove-classifiers \
    && python -m pip --python /opt/chatbot/bin/python check

FROM ${PYTHON}
RUN mkdir -m 0700 /var/lib/chatbot && chown 10001:10001 /var/lib/chatbot
COPY --from=build /opt/chatbot /opt/chatbot
ENV PATH=/opt/chatbot/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/chatbot \
    HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/chatbot
VOLUME /var/lib/chatbot
USER 10001:10001
EXPOSE 8000
# 400 is an answer too: ALLOWED_HOSTS may not hold this one.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT', 8000)), timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status >= 500)"]
ENTRYPOINT ["chatbot"]
CMD ["serve"]
