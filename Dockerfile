# The broker alone: one binary and its configuration on a slim base. Not built here (no Docker engine where this is
# developed); what it copies and sets is checked by a test.
FROM rust:1-slim-bookworm AS build
# aws-lc-rs compiles C.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p broker

FROM debian:bookworm-slim
RUN groupadd --gid 10001 broker && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin broker \
 && install -d -o broker -g broker -m 0750 /var/lib/broker /var/log/broker /run/broker
COPY --from=build /src/target/release/broker /usr/bin/broker
COPY etc/broker.toml /etc/broker/broker.toml
# Probes come from outside of the container.
RUN sed -i 's/^bind = "127.0.0.1:9464"/bind = "0.0.0.0:9464"/' /etc/broker/broker.toml && grep -q '^bind = "0.0.0.0:9464"' /etc/broker/broker.toml
USER 10001:10001
VOLUME ["/var/lib/broker", "/var/log/broker"]
EXPOSE 1883 1884 8883 8083 8084 9464
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["broker", "ctl", "health"]
ENTRYPOINT ["broker"]
CMD ["run"]
