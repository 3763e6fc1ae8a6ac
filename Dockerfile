# Proconsul as a container image: one static binary on Alpine, with the entry point, the
# variables, the user and the paths of Consul's own image, so that compose files and pod
# templates written for that one keep working.
#
#   docker build -t proconsul .
#   docker run -p 8500:8500 -p 8600:8600/udp proconsul

ARG RUST_VERSION=1.95
ARG ALPINE_VERSION=3.22

FROM rust:${RUST_VERSION}-alpine${ALPINE_VERSION} AS build
# A C compiler, for the cryptography; Rust's target is musl here, so the binary is static.
# hadolint ignore=DL3018
RUN apk add --no-cache build-base
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package cli \
 && cp target/release/consul /consul

FROM alpine:${ALPINE_VERSION}
LABEL org.opencontainers.image.title="Proconsul" \
      org.opencontainers.image.description="A drop-in implementation of Consul" \
      org.opencontainers.image.licenses="Apache-2.0"

# su-exec drops root after the data directory belongs to `consul`; tini reaps what script
# checks and watch handlers leave behind and passes signals on.
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates libcap-utils su-exec tini tzdata \
 && addgroup -S -g 1000 consul \
 && adduser -S -u 100 -G consul -h /consul consul \
 && mkdir -p /consul/data /consul/config \
 && chown -R consul:consul /consul
COPY --from=build /consul /bin/consul
COPY deploy/docker/entrypoint /usr/local/bin/docker-entrypoint.sh

VOLUME /consul/data

# Server port; LAN and WAN gossip; HTTP, HTTPS, gRPC; DNS.
EXPOSE 8300 8301 8301/udp 8302 8302/udp 8500 8501 8502 8503 8600 8600/udp

HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["consul", "info"]

ENTRYPOINT ["/sbin/tini", "--", "docker-entrypoint.sh"]
CMD ["agent", "-dev", "-client", "0.0.0.0"]
