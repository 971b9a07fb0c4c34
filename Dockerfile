# syntax=docker/dockerfile:1

# The server's image. `make image` assembles the same without a daemon
# (bench/image), and a test compares the two.
#
#   docker build --build-arg VERSION=1.2.3 -t remote-client-server:1.2.3 .
#   docker buildx build --platform linux/amd64,linux/arm64 ...
#
# The builder is of the machine's own architecture: Go compiles for any other.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/remote-client-server . \
    && mkdir -p /out/app/model_files/.cache

# Why not scratch: on a GPU the server opens libcuda.so.1 at run time, and that
# library needs glibc and its loader. Why distroless and not debian-slim: the
# same Debian packages (glibc, CA certificates, base-files) without a shell or
# a package manager, about 15 MB instead of 75. Being of Debian also tells
# NVIDIA's runtime where to put the driver.
FROM gcr.io/distroless/base-nossl-debian12
ARG VERSION=dev
LABEL org.opencontainers.image.title="remote-client-server" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /out/remote-client-server /usr/local/bin/remote-client-server
COPY --from=build --chown=65532:65532 /out/app /app
WORKDIR /app
# The server reads HOST and PORT itself; models come by MODEL, MODEL_REPO_ID
# and MODEL_TYPE. NVIDIA's variables make its runtime mount the driver, with
# libnvidia-ml for the utilisation.
ENV HOST=0.0.0.0 \
    PORT=8888 \
    HF_HOME=/app/model_files/.cache \
    HUGGINGFACE_HUB_CACHE=/app/model_files/.cache \
    TRANSFORMERS_CACHE=/app/model_files/.cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME ["/app/model_files"]
EXPOSE 8888
USER 65532:65532
STOPSIGNAL SIGTERM
# No HEALTHCHECK of the image: Kubernetes probes /v2/health/live and
# /v2/health/ready from outside, and how long a start may take depends on the
# model. Where a container engine is to look, the command "health" does it
# without a shell (deploy/compose.yaml).
ENTRYPOINT ["/usr/local/bin/remote-client-server"]
