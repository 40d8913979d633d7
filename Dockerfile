# Roster as a service. It needs DATABASE_URL: the embedded Postgres is for laptops and is not in here.

FROM node:24-slim AS build
WORKDIR /roster
COPY package.json package-lock.json .npmrc ./
# The tools that are binaries of their own (the embedded Postgres, Node, buf) are not needed to compile.
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
# localhost is this container alone; another container or machine asks grpc.health.v1 itself.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s CMD ["node", "dist/src/main.js", "health"]
ENTRYPOINT ["node", "--enable-source-maps", "--max-semi-space-size=8", "dist/src/main.js"]
CMD ["serve"]
