# Roster as a service. It needs a Postgres, because the image has no embedded one.
#
#   docker build -t roster .
#   docker run -e DATABASE_URL=postgres://… -e INSECURE=true -e AUTH=on -p 127.0.0.1:50051:50051 roster
#
# For a build that can be repeated, give the digest: --build-arg NODE_IMAGE=node:24-slim@sha256:…
ARG NODE_IMAGE=node:24-slim

# On the builder's own platform, because the result has no native code and so runs on every platform.
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${NODE_IMAGE} AS build
WORKDIR /roster
COPY package.json package-lock.json .npmrc ./
# The build needs no binary packages (the embedded Postgres, Node, buf).
RUN npm ci --ignore-scripts
COPY . .
# npm leaves packages out of the list if development packages also need them, so it must not know of those.
RUN npm run build \
 && npm prune --omit=dev --ignore-scripts \
 && npm pkg delete devDependencies \
 && npm sbom --sbom-format=cyclonedx > sbom.cdx.json \
 && node scripts/container/prune.mjs .

FROM ${NODE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Roster" \
      org.opencontainers.image.description="A user directory as a typed gRPC service over Postgres" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Every address of the container. Without TLS, Roster refuses them unless INSECURE=true. With TLS, calls need credentials.
# /dev/shm is writable even if the root is read-only.
ENV NODE_ENV=production \
    GRPC_ADDRESS=0.0.0.0:50051 \
    HTTP_ADDRESS=0.0.0.0:8080 \
    HEALTH_FILE=/dev/shm/roster-health
WORKDIR /roster
COPY scripts/container/roster scripts/container/healthcheck /usr/local/bin/
COPY package.json LICENSE ./
COPY --from=build /roster/sbom.cdx.json ./
COPY --from=build /roster/node_modules node_modules
COPY --from=build /roster/dist dist
COPY --from=build /roster/generated/descriptors.binpb /roster/generated/openapi.json generated/
USER node
EXPOSE 50051 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["healthcheck"]
ENTRYPOINT ["roster"]
CMD ["serve"]
