# docker build --build-arg VERSION=$(git describe --tags --always) -t linesplit .
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/linesplit .

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/linesplit /linesplit
USER 65532:65532
# For the health check, reachable only inside the container. To publish metrics, run with
# -e LINESPLIT_ADMIN=:9091.
ENV LINESPLIT_ADMIN=127.0.0.1:9091
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/linesplit", "healthcheck"]
ENTRYPOINT ["/linesplit"]
