# The service with the bundled detector: docker build -t pixelsleuth . && docker compose up
# tests/serving/test_operation.py runs its commands without Docker.

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt hatch_build.py README.md LICENSE NOTICE ./
COPY src ./src
RUN python -m venv /opt/pixelsleuth
RUN /opt/pixelsleuth/bin/python -m pip install --no-cache-dir -c constraints.txt ".[serve,heif,provenance]"

FROM python:3.11-slim
COPY --from=build /opt/pixelsleuth /opt/pixelsleuth
# Numbers, not a name: an orchestrator can see that this is not root.
RUN install -d -o 10001 -g 10001 /data
USER 10001:10001
# Background jobs and fetched weights; everything else is read-only, /tmp in memory.
ENV PIXELSLEUTH_HOME=/data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["/opt/pixelsleuth/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["/opt/pixelsleuth/bin/pixelsleuth", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--model", "compact"]
