# Roster as a service. It needs DATABASE_URL, because the image has no embedded Postgres.

FROM node:24-slim AS build
WORKDIR /roster
COPY package.json package-lock.json .npmrc ./
# The build needs no binary packages (the embedded Postgres, Node, buf).
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /roster
COPY --from=build /roster/package.json ./
COPY --from=build /roster/node_modules node_modules
COPY --from=build /roster/dist dist
COPY --from=build /roster/generated/descriptors.binpb /roster/generated/openapi.json generated/
USER node
EXPOSE 50051 8080
# localhost is this container. Other containers and machines can call grpc.health.v1 directly.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s CMD ["node", "dist/src/main.js", "health"]
ENTRYPOINT ["node", "--enable-source-maps", "--max-semi-space-size=8", "dist/src/main.js"]
CMD ["serve"]
